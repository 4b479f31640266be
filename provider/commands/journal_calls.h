// The commands `journal` and `metrics`. Called by main, once per process; they print and return the exit
// code.
#pragma once

#include "provider/commands/control_options.h"

namespace kms::provider {

struct JournalOptions {
  bool follow = false;  ///< go on until a signal ends the program, or the provider ends
  bool counts = false;  ///< the counters instead of the calls
  bool last = false;    ///< the last plaintexts' digests instead of the calls
  bool reveal = false;  ///< and the plaintexts
};

/// Throws Unanswered.
[[nodiscard]] int call_journal(const ControlOptions& control, const JournalOptions& options);

/// Prints what a scrape of `serve --metrics-addr` would be answered. Throws Unanswered.
[[nodiscard]] int call_metrics(const ControlOptions& control);

}  // namespace kms::provider
