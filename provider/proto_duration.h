// Protobuf's durations as ours. Pure functions, safe from any thread.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "proto/program/duration.h"

namespace kms::provider {

/// Durations are cut at a hundred years, so that sums with each other and with times of a clock, which count
/// nanoseconds in 64 bits, do not overflow. Protobuf's own reach 10,000 years.
inline constexpr Duration longest_duration = std::chrono::hours(24 * 365 * 100);

[[nodiscard]] inline Duration duration_of(const google::protobuf::Duration& duration) {
  constexpr std::int64_t most = std::chrono::duration_cast<std::chrono::seconds>(longest_duration).count();
  return std::chrono::seconds(std::clamp(duration.seconds(), -most, most)) +
         std::chrono::nanoseconds(duration.nanos());
}

[[nodiscard]] inline google::protobuf::Duration proto_duration(Duration duration) {
  return google::protobuf::util::TimeUtil::NanosecondsToDuration(duration.count());
}

}  // namespace kms::provider
