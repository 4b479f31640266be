// History keeps the events of all instances for `supervisor events`.
//
// The Supervisor owns it, on the loop's thread. Its memory is bounded: the last 1000 events, each with texts
// of at most 1 KiB.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

#include "common/log/log.h"
#include "common/text/escape.h"
#include "common/text/protobuf.h"
#include "proto/supervisor_control.pb.h"

namespace kms::supervisor {

class History {
 public:
  static constexpr std::size_t kept_events = 1000;
  static constexpr std::size_t max_text = 1024;

  void add(mock_kms::v1::EventKind kind, unsigned instance, const std::string& text,
           const log::Fields& details) {
    mock_kms::v1::Event& event = events_.emplace_back();
    event.set_number(++last_number_);
    *event.mutable_at() = to_timestamp(std::chrono::system_clock::now());
    event.set_instance(instance);
    event.set_kind(kind);
    event.set_text(utf8_text(text.substr(0, max_text)));
    for (const log::Field& detail : details) {
      if (detail.key() == "pid") {
        event.set_pid(static_cast<std::uint32_t>(std::stoul(detail.value())));
      } else if (detail.key() != "start") {  // a number of the log only
        (*event.mutable_details())[detail.key()] = utf8_text(detail.value().substr(0, max_text));
      }
    }
    if (events_.size() > kept_events) events_.pop_front();
  }

  /// Appends the events with a number above `after`, oldest first: those of one instance, or all if
  /// `instance` is 0.
  void read(std::uint64_t after, unsigned instance, mock_kms::v1::EventPage& page) const {
    for (const auto& event : events_) {
      if (event.number() > after && (instance == 0 || event.instance() == instance))
        *page.add_events() = event;
    }
  }

 private:
  std::deque<mock_kms::v1::Event> events_;
  std::uint64_t last_number_ = 0;
};

}  // namespace kms::supervisor
