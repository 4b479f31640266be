// SignalFd turns signals into a readable descriptor, by signalfd(2). No handler runs.
//
// main makes one before it starts a thread: every thread inherits the mask. Any thread may poll fd().
#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "common/io/fd.h"

namespace kms::process {

/// "SIGTERM" for 15, "signal 64" for a signal without a name.
[[nodiscard]] std::string signal_name(int signal);

/// The number of "SIGKILL", "KILL" or "kill" on this machine, or nothing for an unknown name.
[[nodiscard]] std::optional<int> signal_number(const std::string& name);

/// "; did you mean 'SIGKILL'?", or "" if no signal has a name like this one.
[[nodiscard]] std::string did_you_mean_signal(const std::string& name);

class SignalFd {
 public:
  /// Blocks the signals in this thread and in those that it starts. Throws Error.
  explicit SignalFd(std::initializer_list<int> signals);

  /// Readable while a signal is pending.
  [[nodiscard]] int fd() const { return fd_.get(); }

  [[nodiscard]] bool pending() const;

  /// Takes a pending signal: its number, or 0 if none is pending. Never waits.
  [[nodiscard]] int take() const;

 private:
  UniqueFd fd_;
};

/// Starts a thread that ends the process if it is stuck: with code 1 if a SIGTERM or SIGINT from `signals` is
/// not taken for 3 s, and 5 s after end_soon(). gRPC, for example, waits forever for a thread that the system
/// refused to start. Called once. The thread runs until the process ends.
void end_if_stuck(const SignalFd& signals);

/// The process is about to end with `code`.
void end_soon(int code);

}  // namespace kms::process
