// LineWriter writes lines to stderr for the whole program without ever blocking its caller.
//
// Called from any thread. One thread of its own writes; what nobody reads waits in at most 1 MiB, and lines
// beyond that are dropped and counted. The lines of one caller keep their order.
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
  static constexpr std::size_t capacity =
      1 << 20;  ///< bytes that wait at most, those of their keeping included

  /// Writes to `fd`, which outlives this.
  explicit LineWriter(int fd);
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  /// Writes what still waits, for a second at most.
  ~LineWriter();

  /// `line` without its end.
  void write(std::string line);

  /// Lines that were dropped so far.
  [[nodiscard]] std::uint64_t dropped() const;

 private:
  void run();
  [[nodiscard]] std::string next();
  [[nodiscard]] bool wait_until_writable();

  int fd_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  std::size_t waiting_ = 0;  ///< bytes that lines_ takes
  std::uint64_t dropped_ = 0;
  std::uint64_t dropped_told_ = 0;  ///< of those, the ones that a line has told about
  bool ending_ = false;
  std::optional<std::chrono::steady_clock::time_point> give_up_at_;  ///< once the end has come; the thread's
  UniqueFd end_event_;
  std::thread thread_;
};

}  // namespace kms::supervisor
