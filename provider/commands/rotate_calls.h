// The commands `rotate` and `keys`. Called by main, once per process; they print and return the exit code.
#pragma once

#include "provider/commands/control_options.h"
#include "provider/keys/key_id.h"

namespace kms::provider {

struct RotateOptions {
  KeyVersion to = 0;  ///< 0: the next one
  bool force = false;
};

/// Prints "v1 -> v2  <key id>". Throws Unanswered.
[[nodiscard]] int call_rotate(const ControlOptions& control, const RotateOptions& options);

/// Prints the versions that were current, newest first. Throws Unanswered.
[[nodiscard]] int call_keys(const ControlOptions& control);

}  // namespace kms::provider
