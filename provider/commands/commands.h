// The commands: `serve`, those for a running plugin or provider, and `inspect`. Each function adds its
// command to the command line; the file of that name holds the command's options and runs it.
//
// main calls them before it parses. Every command is one thread, blocking. It prints its answer on stdout and
// throws Error for everything else.
#pragma once

#include <chrono>

#include "common/cli/command_line.h"

namespace kms::provider {

/// Serves KMS v2. `begun` is when the process started, for the log.
[[nodiscard]] Command serve_command(CommandLine& line, std::chrono::steady_clock::time_point begun);

[[nodiscard]] Command status_command(CommandLine& line);
[[nodiscard]] Command encrypt_command(CommandLine& line);
[[nodiscard]] Command decrypt_command(CommandLine& line);
[[nodiscard]] Command rotate_command(CommandLine& line);
[[nodiscard]] Command keys_command(CommandLine& line);
[[nodiscard]] Command fault_command(CommandLine& line);
[[nodiscard]] Command journal_command(CommandLine& line);
[[nodiscard]] Command metrics_command(CommandLine& line);
[[nodiscard]] Command expect_command(CommandLine& line);
[[nodiscard]] Command scenario_command(CommandLine& line);
[[nodiscard]] Command config_command(CommandLine& line);
[[nodiscard]] Command inspect_command(CommandLine& line);

}  // namespace kms::provider
