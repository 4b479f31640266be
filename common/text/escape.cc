#include "common/text/escape.h"

#include <array>
#include <cstdint>
#include <cstdio>

#include "common/error.h"

namespace kms {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

/// The length of the well-formed UTF-8 sequence at the start of `text`, or 0 (RFC 3629, section 4).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xC2 ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool outside = (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF4 && byte(1) > 0x8F);
  return overlong || outside ? 0 : length;
}

}  // namespace

std::string utf8_text(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    clean += length == 0 ? replacement : text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return clean;
}

std::string json_string(std::string_view text) {
  std::string quoted = "\"";
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const char first = text.front();
    if (length == 0) {
      quoted += replacement;
    } else if (first == '"' || first == '\\') {
      quoted += {'\\', first};
    } else if (is_control(text, 0)) {
      std::array<char, 8> escape{};
      const auto code = static_cast<unsigned char>(text[length - 1]);
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(code));
      quoted += escape.data();
    } else {
      quoted += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return quoted + '"';
}

std::string visible_text(std::string_view text) {
  std::string shown;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::array<char, 5> code{};
    const auto byte = static_cast<unsigned char>(text[i]);
    std::snprintf(code.data(), code.size(), is_control(text, i) ? "\\x%02x" : "%c", byte);
    shown += code.data();
  }
  return shown;
}

std::string in_quotes(std::string_view text, std::size_t max) {
  return "'" + visible_text(utf8_text(text.substr(0, max))) + (text.size() > max ? "…'" : "'");
}

}  // namespace kms
