// The command `supervisor check`: the contract's rules against any plugin. Called by main, once per process.
#pragma once

#include <string>
#include <vector>

#include "common/cli/command_line.h"
#include "supervisor/conformance/survey.h"

namespace kms::supervisor {

struct CheckOptions {
  std::string endpoint;
  std::vector<std::string> replicas;
  conformance::SurveyLimits limits;
  std::string output = "text";  ///< text or json
  std::string junit;            ///< file for a report in JUnit's form; empty: none
};

/// Adds the command; what is on the command line arrives in `options`.
CLI::App& add_check(CommandLine& line, CheckOptions& options);

/// Surveys the plugin and prints the report. Exit codes: 0 no MUST is broken, 1 one is, 2 a bad endpoint, 3
/// nothing listens. Throws Error where a report cannot be written.
[[nodiscard]] int run_check(const CommandLine& line, const CheckOptions& options);

}  // namespace kms::supervisor
