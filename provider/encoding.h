// How names become bytes that a key or a tag is bound to. Pure functions, safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "provider/bytes.h"

namespace kms::provider {

/// Appends the field's size (4 bytes, big-endian) and the field, so that no two lists of fields look alike.
inline void append_field(std::string& to, std::string_view field) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(field.size() >> shift & 0xFF));
  to.append(field);
}

/// Two lower-case hexadecimal digits per byte.
[[nodiscard]] inline std::string hex_of(Bytes bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text.push_back(digits[byte >> 4]);
    text.push_back(digits[byte & 0xF]);
  }
  return text;
}

}  // namespace kms::provider
