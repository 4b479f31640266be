#include "provider/inspect/input.h"

#include <absl/strings/escaping.h>
#include <absl/strings/str_replace.h>

#include <algorithm>
#include <cctype>

#include "provider/inspect/value.h"

namespace kms::provider {
namespace {

constexpr std::string_view hex_of_encrypted = "6b38733a656e633a";  // k8s:enc:
constexpr std::string_view base64_of_encrypted = "azhzOmVuYz";  // the same; the next digit holds other bits

InspectInput from_raw(const std::string& text) {
  const auto line_ends = text.find('\n');
  if (!text.starts_with('/') || line_ends == std::string::npos) return {text, ""};
  std::string value = text.substr(line_ends + 1);
  if (!begins_as_stored(value)) return {text, ""};
  return {std::move(value), text.substr(0, line_ends)};
}

Outcome<InspectInput> from_hex(std::string text) {
  text = absl::StrReplaceAll(text, {{"\\x", ""}});
  std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
  if (!std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; })) {
    return Error("the value is not hex: it has other characters than hexadecimal digits");
  }
  if (text.size() % 2 != 0) {
    return Error("the value is not hex: it has an odd number of digits", "it may have been cut off");
  }
  return InspectInput{absl::HexStringToBytes(text), ""};
}

Outcome<InspectInput> from_base64(const std::string& text) {
  InspectInput input;
  if (absl::Base64Unescape(text, &input.stored)) return input;
  return Error("the value is not base64", "it may have been cut off");
}

Outcome<InspectInput> detect(const std::string& text) {
  InspectInput raw = from_raw(text);
  if (begins_as_stored(raw.stored)) return raw;
  std::string start = text.substr(0, 256);
  std::transform(start.begin(), start.end(), start.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto first = start.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && start.compare(first, 2, "\\x") == 0) return from_hex(text);
  if (first != std::string::npos && std::string_view(start).substr(first).starts_with(hex_of_encrypted)) {
    return from_hex(text);
  }
  if (first != std::string::npos && std::string_view(text).substr(first).starts_with(base64_of_encrypted)) {
    return from_base64(text);
  }
  for (auto* const decode : {+[](const std::string& digits) { return from_hex(digits); }, &from_base64}) {
    auto decoded = decode(text);
    if (decoded && begins_as_stored(decoded->stored)) return decoded;
  }
  return raw;
}

}  // namespace

Outcome<InspectInput> decode_input(const std::string& text, Encoding encoding) {
  switch (encoding) {
    case Encoding::raw:
      return from_raw(text);
    case Encoding::hex:
      return from_hex(text);
    case Encoding::base64:
      return from_base64(text);
    case Encoding::automatic:
      break;
  }
  return detect(text);
}

}  // namespace kms::provider
