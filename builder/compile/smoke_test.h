// run_smoke_test() checks that a binary runs here: it prints its version (or its help) and exits with 0.
//
// Called on one thread. It runs fetched code once, with one argument, an empty environment and the compiler's
// isolation.
#pragma once

#include <filesystem>
#include <string>

#include "builder/run/interruption.h"
#include "builder/sandbox/isolation.h"

namespace kms::builder {

struct SmokeTest {
  std::string argument = "--version";
  Duration timeout = std::chrono::seconds(10);
};

/// The first line that the binary prints. Throws Error "cannot run ..." with its exit status and last line.
[[nodiscard]] std::string run_smoke_test(const std::filesystem::path& binary, const SmokeTest& test,
                                         const Isolation& isolation, const Interruption& interruption);

}  // namespace kms::builder
