// LineWriter writes lines to stderr and never blocks its caller.
//
// Called from any thread. A thread of its own writes. If nobody reads or the disk is full, lines wait in at
// most 1 MiB, and those beyond that are dropped and counted. The lines of one caller keep their order.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/io/fd.h"

namespace kms::supervisor {

class LineWriter {
 public:
  static constexpr std::size_t capacity = 1 << 20;  ///< bytes, including std::string itself

  /// Writes to `fd`, which outlives this.
  explicit LineWriter(int fd);
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  /// Writes the waiting lines, for at most a second.
  ~LineWriter();

  /// `line` has no line end.
  void write(std::string line);

  /// The lines dropped so far.
  [[nodiscard]] std::uint64_t dropped() const;

 private:
  void run();
  [[nodiscard]] std::string next();
  [[nodiscard]] bool wait_until_writable();
  [[nodiscard]] bool wait_to_retry() const;

  int fd_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  std::size_t waiting_ = 0;  ///< bytes of lines_
  std::uint64_t dropped_ = 0;
  std::uint64_t dropped_reported_ = 0;
  bool ending_ = false;
  std::optional<std::chrono::steady_clock::time_point> give_up_at_;  ///< set at the end; used by the thread
  UniqueFd end_event_;
  std::thread thread_;
};

}  // namespace kms::supervisor
