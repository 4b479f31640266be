// Interruption is a request to stop: SIGINT, SIGTERM or SIGHUP.
//
// It owns the signal descriptor. main makes one before it starts a thread, since threads inherit the mask.
// Any thread may use requested() and fd(). No handler runs. It ends nothing by itself, except a process that
// is stuck while the Interruption lives: 3 s after a signal if nobody reads stderr, else after 20 s.
#pragma once

#include <string>
#include <thread>

#include "common/error.h"
#include "common/io/fd.h"
#include "common/process/signals.h"
#include "common/text/time.h"

namespace kms::builder {

/// Thrown when work stops on request. Code that catches Error and goes on must let it pass.
class Interrupted : public Error {
 public:
  Interrupted() : Error("interrupted") {}
};

class Interruption {
 public:
  /// Blocks the signals in this thread. Throws Error.
  Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;
  ~Interruption();

  /// Readable from the first signal on.
  [[nodiscard]] int fd() const { return signals_.fd(); }
  [[nodiscard]] bool requested() const;

  /// Throws Interrupted if requested.
  void check() const;

  /// Waits. Throws Interrupted as soon as requested.
  void wait_for(Duration duration) const;

  /// "SIGTERM". It takes the signal: call it once, at the end.
  [[nodiscard]] std::string take_name() const;

 private:
  process::SignalFd signals_;
  UniqueFd end_;  ///< an eventfd, readable once the watcher is to end
  std::thread watcher_;
};

}  // namespace kms::builder
