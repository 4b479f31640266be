// Signals by their names. Pure, safe from any thread.
#pragma once

#include <cstring>
#include <optional>
#include <string>

namespace kms::provider {

/// The number of "SIGKILL" or "KILL" on this machine; nothing for an unknown name.
[[nodiscard]] inline std::optional<int> signal_number(const std::string& name) {
  const std::string bare = name.starts_with("SIG") ? name.substr(3) : name;
  for (int number = 1; number < 32; ++number) {
    const char* abbreviation = ::sigabbrev_np(number);
    if (abbreviation != nullptr && bare == abbreviation) return number;
  }
  return std::nullopt;
}

}  // namespace kms::provider
