// ExitStatus holds how a process ended, as a number and as text.
#pragma once

#include <string>

#include "common/process/signals.h"

namespace kms::process {

class ExitStatus {
 public:
  /// From the status word of waitpid(2) for a process that has ended.
  [[nodiscard]] static ExitStatus from_wait(int status);

  [[nodiscard]] bool success() const { return !signaled_ && value_ == 0; }
  [[nodiscard]] bool signaled() const { return signaled_; }

  /// The exit code, or the signal's number if signaled().
  [[nodiscard]] int value() const { return value_; }

  /// "exited with code 1", "killed by SIGSEGV (signal 11, Segmentation fault), core dumped".
  [[nodiscard]] std::string text() const;

 private:
  ExitStatus(bool signaled, int value, bool core) : signaled_(signaled), value_(value), core_(core) {}

  bool signaled_;
  int value_;
  bool core_;
};

}  // namespace kms::process
