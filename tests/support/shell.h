// shell() runs a script for a test. The test fails if the script does.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "common/process/run.h"

namespace kms::test {

/// The last line of the output of `script`, which ends at the first command that fails.
inline std::string shell(const std::filesystem::path& directory, const std::string& script) {
  std::string last;
  const auto end = process::run({{"sh", "-ec", script}, process::own_environment(), {}, directory, true}, {},
                                [&](std::string_view line) { last = line; });
  REQUIRE_MESSAGE(std::get<process::ExitStatus>(end).success(), last);
  return last;
}

}  // namespace kms::test
