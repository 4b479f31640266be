// What the commands for a running provider take on the command line, and `inspect`; `serve` is main's.
//
// Called by main, once, before the command line is read.
#pragma once

#include <functional>
#include <vector>

#include "common/cli/command_line.h"

namespace kms::provider {

struct Command {
  const CLI::App* line;      ///< parsed() where it is the one that was meant
  std::function<int()> run;  ///< the exit code; throws Unanswered
};

/// Adds the commands to `line`; each keeps its own options.
[[nodiscard]] std::vector<Command> add_commands(CommandLine& line);

}  // namespace kms::provider
