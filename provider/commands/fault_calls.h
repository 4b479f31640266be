// The command `fault` with add, list and clear. Called by main, once per process; they print and return the
// exit code.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "provider/commands/control_options.h"

namespace kms::provider {

/// As they stand on the command line, unchecked; empty or 0 is not given, but for the probability.
struct FaultOptions {
  std::string what;  ///< an effect's name, a preset, a violation or JSON
  std::string name;
  std::vector<std::string> methods;
  std::string key_id;
  std::string uid;
  std::string node;
  std::string instance;
  Duration after{0};
  Duration lasting{0};
  std::uint32_t first = 0;
  std::uint32_t every = 0;
  std::optional<double> probability;
  std::string code;
  std::string text;
  Duration latency{0};
  Duration latency_max{0};
  bool long_tail = false;
  double per_second = 0;
  std::uint32_t burst = 0;
  std::uint32_t exit_code = 0;
  std::string signal;
  std::uint32_t mib = 0;
};

/// Lines for the help: every word that `fault add` takes, with its meaning.
[[nodiscard]] std::string fault_words();

/// Each throws Unanswered.
[[nodiscard]] int call_fault_add(const ControlOptions& control, const FaultOptions& options);
[[nodiscard]] int call_fault_list(const ControlOptions& control);
[[nodiscard]] int call_fault_clear(const ControlOptions& control, const std::string& name);

}  // namespace kms::provider
