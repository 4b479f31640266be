// What time it is, and times and durations as protobuf's well-known types have them.
#pragma once

#include <google/protobuf/util/time_util.h>

#include <chrono>

#include "common/text/time.h"

namespace kms::supervisor {

/// For people to read; it may be set back.
[[nodiscard]] inline std::chrono::system_clock::time_point wall_now() {
  return std::chrono::system_clock::now();
}

/// For durations.
[[nodiscard]] inline std::chrono::steady_clock::time_point steady_now() {
  return std::chrono::steady_clock::now();
}

/// In milliseconds, as precise as people compare logs.
[[nodiscard]] inline google::protobuf::Timestamp timestamp(std::chrono::system_clock::time_point time) {
  return google::protobuf::util::TimeUtil::MillisecondsToTimestamp(
      std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count());
}

[[nodiscard]] inline google::protobuf::Duration to_proto(Duration duration) {
  return google::protobuf::util::TimeUtil::NanosecondsToDuration(duration.count());
}

}  // namespace kms::supervisor
