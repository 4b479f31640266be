// Times as RFC 3339 in UTC with milliseconds: "2026-11-22T14:50:01.123Z". Pure, safe from any thread.
#pragma once

#include <chrono>
#include <string>

namespace kms {

[[nodiscard]] std::string rfc3339(std::chrono::system_clock::time_point time);

}  // namespace kms
