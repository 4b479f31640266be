#include "common/text/time.h"

#include <absl/time/time.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

namespace kms {
namespace {

using namespace std::chrono_literals;

/// The unit that `text` begins with, cut off it. "ms" stands before "m".
std::optional<Duration> take_unit(std::string_view& text) {
  static constexpr std::array<std::pair<std::string_view, Duration>, 6> units{
      {{"ms", 1ms}, {"us", 1us}, {"ns", 1ns}, {"h", 1h}, {"m", 1min}, {"s", 1s}}};
  for (const auto& [name, length] : units) {
    if (text.starts_with(name)) {
      text.remove_prefix(name.size());
      return length;
    }
  }
  return std::nullopt;
}

Error not_a_duration(std::string_view text) {
  return Error("'" + std::string(text) + "' is not a duration",
               "write a number and a unit (h, m, s, ms, us, ns), such as 3s, 250ms or 1m30s");
}

template <class... Arguments>
std::string print(const char* format, Arguments... arguments) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, arguments...);
  return buffer.data();
}

}  // namespace

Outcome<Duration> parse_duration(std::string_view text) {
  if (text == "0") return Duration{0};
  if (text.empty()) return not_a_duration(text);
  double total = 0;
  for (std::string_view rest = text; !rest.empty();) {
    double number = 0;
    const auto [end, error] =
        std::from_chars(rest.data(), rest.data() + rest.size(), number, std::chars_format::fixed);
    if (error == std::errc{} && std::signbit(number))
      return Error("'" + std::string(text) + "' is negative", "give a duration of 0 or more");
    if (error != std::errc{} || !std::isfinite(number)) return not_a_duration(text);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const auto unit = take_unit(rest);
    if (!unit) return not_a_duration(text);
    total += number * static_cast<double>(unit->count());
  }
  if (total >= static_cast<double>(std::numeric_limits<Duration::rep>::max()))
    return Error("'" + std::string(text) + "' is too long", "the maximum is 292 years");
  return Duration{static_cast<Duration::rep>(std::llround(total))};
}

std::string go_duration(Duration duration) { return absl::FormatDuration(absl::FromChrono(duration)); }

std::string human_duration(Duration duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  if (seconds < 1) return print("%.1f ms", seconds * 1000);
  if (seconds < 60) return print("%.1f s", seconds);
  const auto whole = static_cast<long long>(seconds);
  if (whole < 3600) return print("%lldm %02llds", whole / 60, whole % 60);
  if (whole < 86400) return print("%lldh %02lldm", whole / 3600, whole / 60 % 60);
  return print("%lldd %lldh", whole / 86400, whole / 3600 % 24);
}

std::string rfc3339(std::chrono::system_clock::time_point time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(time), absl::UTCTimeZone());
}

}  // namespace kms
