// Interruption is the wish of a person or of the system that the program end: SIGINT, SIGTERM or SIGHUP.
//
// It owns the signal descriptor. main makes one before any thread is started (the mask is inherited);
// requested() and fd() may be used from any thread. It never ends anything by itself and no handler runs.
#pragma once

#include <string>

#include "common/process/signals.h"
#include "common/text/time.h"

namespace kms::builder {

/// Thrown where work stops because it was asked to. Not an Error: nothing failed.
struct Interrupted {};

class Interruption {
 public:
  /// Blocks the signals in this thread. Throws Error.
  Interruption();

  /// Readable for good from the first signal on.
  [[nodiscard]] int fd() const { return signals_.fd(); }
  [[nodiscard]] bool requested() const;

  /// Throws Interrupted where requested.
  void check() const;

  /// Waits that long, throws Interrupted as soon as requested.
  void wait_for(Duration duration) const;

  /// "SIGTERM"; takes the signal, so it is called once, at the end.
  [[nodiscard]] std::string take_name() const;

 private:
  process::SignalFd signals_;
};

}  // namespace kms::builder
