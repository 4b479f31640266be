// Makes text of unknown origin safe to print, log and send.
#pragma once

#include <string>
#include <string_view>

namespace kms {

/// Replaces each byte that is not part of well-formed UTF-8 by U+FFFD.
[[nodiscard]] std::string utf8_text(std::string_view text);

/// `text` in double quotes, escaped by RFC 8259. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string json_string(std::string_view text);

/// Shows each control character as \xNN, so that a terminal does not obey it.
[[nodiscard]] std::string visible_text(std::string_view text);

/// Text of unknown origin for a message: in single quotes, as visible_text() of its UTF-8, and cut with "…"
/// after `max` bytes.
[[nodiscard]] std::string in_quotes(std::string_view text, std::size_t max = 80);

}  // namespace kms
