// The command `scenario` with run, status and stop. Called by main, once per process; they print how far the
// scenario is and return the exit code.
#pragma once

#include <string>

#include "provider/commands/control_options.h"

namespace kms::provider {

struct ScenarioOptions {
  std::string file;   ///< "-": standard input
  bool wait = false;  ///< until the scenario is over
};

/// Each throws Unanswered. With `wait`: exit code 1 where a step failed or the scenario was stopped.
[[nodiscard]] int call_scenario_run(const ControlOptions& control, const ScenarioOptions& options);
[[nodiscard]] int call_scenario_status(const ControlOptions& control);
[[nodiscard]] int call_scenario_stop(const ControlOptions& control);

}  // namespace kms::provider
