// The command `config`: what became of the file of --config, and whether a file would be taken up. Called by
// main, once per process.
#pragma once

#include <string>

#include "provider/commands/control_options.h"

namespace kms::provider {

/// Prints which file is in effect since when, and why it is not as it is now; exit code 1 in that case.
/// Throws Unanswered.
[[nodiscard]] int call_config(const ControlOptions& control);

/// Reads a file as serve --config does, without a provider. Throws Unanswered where it is bad.
[[nodiscard]] int check_config(const std::string& path);

}  // namespace kms::provider
