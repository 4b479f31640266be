// Durations in Go's syntax ("300ms", "1m30s") and times by RFC 3339.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "common/error.h"

namespace kms {

using Duration = std::chrono::nanoseconds;

/// Reads one or more numbers, each with a unit (h, m, s, ms, us, ns); "0" needs no unit. Never negative, at
/// most 292 years. Source of the syntax: Go's time.ParseDuration, which the flags of the upstream plugin use.
[[nodiscard]] Outcome<Duration> parse_duration(std::string_view text);

/// A short text that parse_duration() reads back: "1s", "1.2s", "1m30s", "250ms".
[[nodiscard]] std::string go_duration(Duration duration);

/// For people: "0.4 ms", "3.2 s", "4m 10s", "3h 05m", "2d 4h".
[[nodiscard]] std::string human_duration(Duration duration);

/// UTC with milliseconds: "2026-11-22T14:50:01.123Z".
[[nodiscard]] std::string rfc3339(std::chrono::system_clock::time_point time);

}  // namespace kms
