// History keeps what happened, event by event, for `supervisor events`.
//
// Owned by the Supervisor, on the loop's thread. Its memory is bounded: the last 1000 events, each with texts
// of at most 1 KiB.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

#include "common/log/log.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

class History {
 public:
  using WallTime = std::chrono::system_clock::time_point;
  static constexpr std::size_t kept_events = 1000;

  void add(mock_kms::v1::EventKind kind, unsigned instance, const std::string& text,
           const log::Fields& details, WallTime now);

  /// Those with a number above `after`, oldest first; of one instance, or of all where `instance` is 0.
  void read(std::uint64_t after, unsigned instance, mock_kms::v1::EventPage& page) const;

 private:
  std::deque<mock_kms::v1::Event> events_;
  std::uint64_t last_number_ = 0;
};

}  // namespace kms::supervisor
