// Durations as people write them on the command line: Go's syntax ("300ms", "1m30s", "1.5h").
//
// Pure functions, safe from any thread.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "proto/program/error.h"

namespace kms {

using Duration = std::chrono::nanoseconds;

/// Reads one or more numbers, each followed by a unit (h, m, s, ms, us, ns); "0" needs none. Never negative,
/// at most 292 years. Source of the syntax: Go's time.ParseDuration, which the upstream plugin's flags use.
[[nodiscard]] Outcome<Duration> parse_duration(std::string_view text);

/// What parse_duration() reads back, as short as it goes: "1s", "1m30s", "250ms".
[[nodiscard]] std::string go_duration(Duration duration);

/// For people: "0.4 ms", "3.2 s", "4m 10s", "3h 05m", "2d 4h".
[[nodiscard]] std::string human_duration(Duration duration);

}  // namespace kms
