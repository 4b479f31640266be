// Signals turns signals into a readable descriptor; no handler runs.
//
// main makes them before any thread starts, so that every thread has the signals blocked. It never ends the
// process.
#pragma once

#include <initializer_list>
#include <string>

#include "proto/program/unique_fd.h"

namespace kms::provider {

class Signals {
 public:
  explicit Signals(std::initializer_list<int> numbers);

  /// Readable while a signal waits to be taken.
  [[nodiscard]] int fd() const { return fd_.get(); }

  /// Whether one waits to be taken; at once.
  [[nodiscard]] bool waiting() const;

  /// Waits for a signal and takes it; its name.
  [[nodiscard]] std::string take() const;

 private:
  UniqueFd fd_;
};

}  // namespace kms::provider
