// Bytes as published test vectors print them.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

/// Reads pairs of hexadecimal digits into a string of bytes.
inline std::string from_hex(std::string_view digits) {
  if (digits.size() % 2 != 0) throw std::invalid_argument("an odd number of hexadecimal digits");
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}
