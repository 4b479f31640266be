#include "provider/inspect/input.h"

#include <absl/strings/escaping.h>
#include <absl/strings/str_replace.h>
#include <google/protobuf/struct.pb.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <vector>

#include "common/crypto/bytes.h"
#include "common/text/protobuf.h"
#include "provider/inspect/value.h"

namespace kms::provider {
namespace {

using google::protobuf::Value;

constexpr std::string_view encrypted_prefix = "k8s:enc:";
constexpr std::string_view hex_of_encrypted = "6b38733a656e633a";
constexpr std::string_view base64_of_encrypted = "azhzOmVuYz";  // the next digit holds other bits too
constexpr std::string_view white_space = " \t\r\n";
constexpr std::size_t max_dump = std::size_t{64} * 1024 * 1024;
constexpr auto best_command = "use: etcdctl get KEY --print-value-only | base64";

Error no_such_key() {
  return Error("etcd has no such key", "list the keys: etcdctl get --prefix --keys-only /");
}

Error more_than_one() {
  return Error("there is more than one value", "give one: etcdctl get KEY, without --prefix");
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(white_space);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(white_space) - first + 1);
}

/// The lines that are not empty.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find_first_of("\r\n"), text.size());
    if (end > 0) lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

/// Abseil's own type where it was built for C++14.
absl::string_view for_absl(std::string_view text) { return {text.data(), text.size()}; }

/// The end of a line with a key that a stored value follows; npos if `text` does not begin with one.
std::size_t end_of_key_line(std::string_view text) {
  const auto line_end = text.find('\n');
  const bool is_key = text.starts_with('/') && line_end != std::string_view::npos &&
                      begins_as_stored(text.substr(line_end + 1));
  return is_key ? line_end : std::string_view::npos;
}

bool begins_with_value(std::string_view text) {
  return begins_as_stored(text) || end_of_key_line(text) != std::string_view::npos;
}

bool has_another_value(std::string_view stored) {
  if (!begins_as_stored(stored)) return false;
  if (stored.find(encrypted_prefix, 1) != std::string_view::npos) return true;
  for (auto at = stored.find("\n/"); at != std::string_view::npos; at = stored.find("\n/", at + 1)) {
    if (end_of_key_line(stored.substr(at + 1)) != std::string_view::npos) return true;
  }
  return false;
}

/// The value, which may come after a line with its key.
Outcome<InspectInput> decode_raw(std::string text) {
  InspectInput input{std::move(text), ""};
  if (const auto line_end = end_of_key_line(input.stored); line_end != std::string::npos) {
    input.etcd_key = trimmed(std::string_view(input.stored).substr(0, line_end));
    input.stored.erase(0, line_end + 1);
  }
  if (has_another_value(input.stored)) return more_than_one();
  return input;
}

Outcome<std::string> hex_bytes(std::string_view text) {
  std::string digits = absl::StrReplaceAll(for_absl(text), {{"\\x", ""}});
  std::erase_if(digits, [](unsigned char c) { return std::isspace(c) != 0; });
  if (!std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isxdigit(c) != 0; })) {
    return Error("the value is not hex: it has characters that are not hexadecimal digits");
  }
  if (digits.size() % 2 != 0) {
    return Error("the value is not hex: it has an odd number of digits", "it may have been cut off");
  }
  std::string bytes;
  const Bytes values = bytes_of(digits);
  for (std::size_t i = 0; i < values.size(); i += 2)
    bytes.push_back(static_cast<char>(hex_byte(values[i], values[i + 1])));
  return bytes;
}

/// `etcdctl --hex` escapes each byte and puts key and value on a line each.
Outcome<InspectInput> decode_hex(std::string_view text) {
  text = trimmed(text);
  std::string key;
  if (const auto line_end = text.find_first_of("\r\n"); text.starts_with("\\x2f") && line_end != text.npos) {
    const auto decoded = hex_bytes(text.substr(0, line_end));
    if (!decoded) return decoded.error();
    key = *decoded;
    text.remove_prefix(line_end);
  }
  auto bytes = hex_bytes(text);
  if (!bytes) return bytes.error();
  auto input = decode_raw(*std::move(bytes));
  if (input && !key.empty()) input->etcd_key = key;
  return input;
}

Outcome<std::string> base64_bytes(std::string_view text) {
  std::string bytes;
  if (absl::Base64Unescape(for_absl(text), &bytes)) return bytes;
  return Error("the value is not base64", "it may have been cut off");
}

Outcome<InspectInput> decode_base64(std::string_view text) {
  auto bytes = base64_bytes(text);
  if (!bytes) return bytes.error();
  return decode_raw(*std::move(bytes));
}

const Value* field(const Value& object, const char* name) {
  const auto& fields = object.struct_value().fields();
  const auto found = fields.find(name);
  return found == fields.end() ? nullptr : &found->second;
}

/// One of the `kvs` of an answer: key and value in base64.
Outcome<InspectInput> decode_pair(const Value& pair) {
  const Value* value = field(pair, "value");
  const Value* key = field(pair, "key");
  if (value == nullptr) return Error("the key has no value in this JSON", best_command);
  auto input = decode_base64(value->string_value());
  if (input && key != nullptr && !absl::Base64Unescape(key->string_value(), &input->etcd_key)) {
    return Error("the key in this JSON is not base64", best_command);
  }
  return input;
}

Outcome<InspectInput> decode_pairs(const Value& pairs) {
  if (pairs.list_value().values().empty()) return no_such_key();
  if (pairs.list_value().values_size() > 1) return more_than_one();
  return decode_pair(pairs.list_value().values(0));
}

/// The answer of etcdctl, or a part of it; else an object that is stored as JSON.
Outcome<InspectInput> decode_json(const std::string& text) {
  Value json;
  if (const auto read = from_json(text, json); !read) {
    return Error("the input begins like JSON and is not valid JSON: " + read.error().cause(), best_command);
  }
  if (json.has_string_value()) return decode_input(json.string_value(), Encoding::automatic);
  if (json.has_list_value()) return decode_pairs(json);
  if (const Value* pairs = field(json, "kvs")) return decode_pairs(*pairs);
  if (field(json, "header") != nullptr) return no_such_key();
  if (field(json, "kind") != nullptr) return InspectInput{text, ""};
  if (field(json, "key") != nullptr || field(json, "value") != nullptr) return decode_pair(json);
  return Error("this JSON is neither an answer of etcdctl nor an object that the API server stores",
               best_command);
}

/// The character that a backslash and `letter` stand for in Go.
char escaped(char letter) {
  constexpr std::string_view letters = "abfnrtv";
  constexpr std::string_view characters = "\a\b\f\n\r\t\v";
  const auto at = letters.find(letter);
  return at == std::string_view::npos ? letter : characters[at];
}

/// Reads a text that Go's %q wrote: \xNN is a byte, \uNNNN and \UNNNNNNNN are characters.
Outcome<std::string> unquoted(std::string_view quoted) {
  const Error broken("a quoted text of -w fields is damaged", best_command);
  quoted = trimmed(quoted);
  if (quoted.size() < 2 || quoted.front() != '"' || quoted.back() != '"') return broken;
  quoted = quoted.substr(1, quoted.size() - 2);
  std::string text;
  while (!quoted.empty()) {
    const auto backslash = std::min(quoted.find('\\'), quoted.size());
    text += quoted.substr(0, backslash);
    quoted.remove_prefix(backslash);
    if (quoted.empty()) break;
    if (quoted.size() < 2) return broken;
    const char letter = quoted[1];
    const std::size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
    if (digits == 0) {
      text += escaped(letter);
    } else {
      std::string character;
      const std::string_view number = quoted.substr(2, digits);
      const auto bytes = hex_bytes(number);
      if (number.size() != digits || !bytes) return broken;
      if (letter == 'x') {
        character = *bytes;
      } else if (!absl::CUnescape(for_absl(quoted.substr(0, 2 + digits)), &character)) {
        return broken;
      }
      text += character;
    }
    quoted.remove_prefix(2 + digits);
  }
  return text;
}

/// `etcdctl -w fields`: lines such as `"Key" : "/registry/x"`.
Outcome<InspectInput> decode_fields(const std::string& text) {
  std::vector<std::string_view> keys;
  std::vector<std::string_view> values;
  for (const std::string_view line : lines_of(text)) {
    if (line.starts_with("\"Key\" : ")) keys.push_back(line.substr(8));
    if (line.starts_with("\"Value\" : ")) values.push_back(line.substr(10));
  }
  if (values.empty()) return no_such_key();
  if (values.size() > 1) return more_than_one();
  const auto value = unquoted(values.front());
  if (!value) return value.error();
  auto input = decode_raw(*value);
  if (!input || keys.size() != 1) return input;
  const auto key = unquoted(keys.front());
  if (!key) return key.error();
  input->etcd_key = *key;
  return input;
}

/// The hex digits of one line of `hexdump -C` or `xxd`, behind the offset.
std::string_view digits_of_dump_line(std::string_view line) {
  const bool is_xxd = line.size() > 8 && line[8] == ':';
  line.remove_prefix(std::min<std::size_t>(line.size(), is_xxd ? 10 : 8));
  return line.substr(0, is_xxd ? line.find("  ") : line.find('|'));
}

std::optional<std::size_t> dump_offset(std::string_view line) {
  if (line.size() < 8 || (line.size() > 8 && line[8] != ':' && line[8] != ' ')) return std::nullopt;
  std::size_t offset = 0;
  for (const char digit : line.substr(0, 8)) {
    const auto c = static_cast<unsigned char>(digit);
    if (std::isxdigit(c) == 0) return std::nullopt;
    offset =
        offset * 16 + static_cast<std::size_t>(std::isdigit(c) != 0 ? c - '0' : std::tolower(c) - 'a' + 10);
  }
  return offset;
}

bool is_dump(std::string_view text) {
  const auto lines = lines_of(text);
  return lines.size() > 1 && dump_offset(lines[0]) == std::size_t{0};
}

/// `hexdump -C` and `xxd`. A line `*` repeats the line before it up to the next offset.
Outcome<InspectInput> decode_dump(const std::string& text) {
  const Error broken("the dump has a gap", best_command);
  std::string bytes;
  std::string last;
  bool repeats = false;
  for (const std::string_view line : lines_of(text)) {
    if (line == "*") {
      repeats = !last.empty();
      continue;
    }
    const auto offset = dump_offset(line);
    if (!offset) return broken;
    while (repeats && bytes.size() < *offset && bytes.size() < max_dump) bytes += last;
    if (bytes.size() != *offset) return broken;
    auto row = hex_bytes(digits_of_dump_line(line));
    if (!row) return Error("the dump is not of hexdump -C or xxd", best_command);
    bytes += last = *std::move(row);
    repeats = false;
  }
  return decode_raw(std::move(bytes));
}

/// Removes the lines that etcdctl logs on stderr; `2>&1` puts them before the value.
std::string_view without_log_lines(std::string_view text) {
  while (text.starts_with(R"({"level":")")) {
    const auto line_end = text.find('\n');
    const std::string_view line = text.substr(0, line_end);
    if (line.find(R"("msg":)") == std::string_view::npos) break;
    text.remove_prefix(line_end == std::string_view::npos ? text.size() : line_end + 1);
  }
  return text;
}

Outcome<InspectInput> detect(const std::string& text) {
  const std::string_view content = trimmed(text);
  if (content.empty())
    return Error("there is no value: nothing was read", "check that the key exists in etcd");
  if (begins_with_value(text) && !text.starts_with('{')) return decode_raw(text);
  if (content.starts_with("\"ClusterID\" :") || content.find("\n\"Value\" : ") != std::string_view::npos) {
    return decode_fields(text);
  }
  if (content.starts_with('{') || content.starts_with('[') || content.starts_with('"')) {
    return decode_json(std::string(content));
  }
  if (is_dump(content)) return decode_dump(std::string(content));
  std::string start(content.substr(0, hex_of_encrypted.size()));
  std::transform(start.begin(), start.end(), start.begin(), [](unsigned char c) { return std::tolower(c); });
  if (start.starts_with("\\x") || start == hex_of_encrypted) return decode_hex(text);
  if (content.starts_with(base64_of_encrypted)) return decode_base64(text);
  for (auto* const decode : {&hex_bytes, &base64_bytes}) {
    auto bytes = decode(text);
    if (bytes && begins_with_value(*bytes)) return decode_raw(*std::move(bytes));
  }
  return not_a_value(content);
}

}  // namespace

Outcome<InspectInput> decode_input(const std::string& text, Encoding encoding) {
  switch (encoding) {
    case Encoding::raw:
      return decode_raw(text);
    case Encoding::hex:
      return decode_hex(text);
    case Encoding::base64:
      return decode_base64(text);
    case Encoding::automatic:
      break;
  }
  return detect(std::string(without_log_lines(text)));
}

}  // namespace kms::provider
