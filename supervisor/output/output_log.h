// OutputLog keeps the last lines that one instance's processes wrote, for `supervisor logs`.
//
// Owned by its Instance, on the loop's thread. Its memory is bounded: 64 KiB of text and 2000 lines.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

class OutputLog {
 public:
  using WallTime = std::chrono::system_clock::time_point;
  static constexpr std::size_t kept_bytes = std::size_t{64} * 1024;
  static constexpr std::size_t kept_lines = 2000;

  /// `number` is the line's among those of all instances.
  void add(std::uint64_t number, pid_t pid, const std::string& text, WallTime now);

  /// Those with a number above `after`, oldest first.
  void read(std::uint64_t after, unsigned instance, mock_kms::v1::OutputPage& page) const;

 private:
  struct Line {
    std::uint64_t number;
    WallTime at;
    pid_t pid;
    std::string text;
  };

  std::deque<Line> lines_;
  std::size_t bytes_ = 0;
};

}  // namespace kms::supervisor
