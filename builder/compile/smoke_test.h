// The proof that a binary runs here: asked for its version (or its help), it ends well within a time.
//
// Called on one thread. It runs code that was fetched, once, with one argument, under the same isolation as
// the compiler and with an empty environment.
#pragma once

#include <filesystem>
#include <string>

#include "builder/run/interruption.h"
#include "builder/sandbox/isolation.h"

namespace kms::builder {

struct Proof {
  std::string argument = "--version";
  Duration timeout = std::chrono::seconds(10);
};

/// The first line that the binary prints. Throws Error "cannot run ..." with how it ended and its last line.
[[nodiscard]] std::string prove_runs(const std::filesystem::path& binary, const Proof& proof,
                                     const Isolation& isolation, const Interruption& interruption);

}  // namespace kms::builder
