// The command `expect`. Called by main, once per process; it prints and returns the exit code.
#pragma once

#include <string>

#include "provider/commands/control_options.h"

namespace kms::provider {

struct ExpectOptions {
  std::string text;    ///< what expectation.h reads
  Duration within{0};  ///< how long it may take to become true; 0: it is to be true now
  std::string junit;   ///< file for a report in JUnit's form; empty: none
};

/// 0 where it holds, 1 where it does not. Throws Unanswered, and Error where the report cannot be written.
[[nodiscard]] int call_expect(const ControlOptions& control, const ExpectOptions& options);

}  // namespace kms::provider
