// Texts of unknown origin as UTF-8, and as a JSON string literal for log lines. Whole documents are made from
// protobuf messages.
#pragma once

#include <string>
#include <string_view>

namespace kms {

/// `text` with every byte that is not part of well-formed UTF-8 replaced by U+FFFD. Pure, any thread.
[[nodiscard]] std::string utf8_text(std::string_view text);

/// `text` in double quotes, escaped by RFC 8259. Bytes that are not UTF-8 become U+FFFD. Pure, any thread.
[[nodiscard]] std::string json_string(std::string_view text);

}  // namespace kms
