#include "proto/program/rfc3339.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace kms {

std::string rfc3339(std::chrono::system_clock::time_point time) {
  using namespace std::chrono;
  const auto second = floor<seconds>(time);
  const auto millisecond = duration_cast<milliseconds>(time - second).count();
  const std::time_t clock = system_clock::to_time_t(second);
  std::tm utc{};
  gmtime_r(&clock, &utc);
  std::array<char, 32> date{};
  std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%s.%03dZ", date.data(), static_cast<int>(millisecond));
  return text.data();
}

}  // namespace kms
