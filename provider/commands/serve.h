#pragma once

#include <chrono>

#include "common/cli/command_line.h"

namespace kms::provider {

/// Adds `serve`. `begun` is when the process started, for the log.
[[nodiscard]] Command serve_command(CommandLine& line, std::chrono::steady_clock::time_point begun);

}  // namespace kms::provider
