// The builder's commands, one file each. main adds them to its command line.
#pragma once

#include "common/cli/command_line.h"

namespace kms::builder {

[[nodiscard]] Command build_command(CommandLine& line);
[[nodiscard]] Command fetch_command(CommandLine& line);

}  // namespace kms::builder
