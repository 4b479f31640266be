#include "provider/keys/key_id.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "common/text/escape.h"

namespace kms::provider {
namespace {

constexpr std::size_t max_instance = 63;
constexpr std::size_t max_version = std::numeric_limits<KeyVersion>::digits10 + 1;
constexpr std::size_t check_digits = 8;
constexpr std::size_t max_id_size = 1024;

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_instance(std::string_view name) {
  return !name.empty() && name.size() <= max_instance && is_alphanumeric(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_check(std::string_view check) {
  return check.size() == check_digits && std::all_of(check.begin(), check.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

/// Each key has exactly one id: no leading zeros, no version 0.
std::optional<KeyVersion> version_of(std::string_view text) {
  KeyVersion version = 0;
  if (text.empty() || text.front() == '0') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return version;
}

Error bad_format(const std::string& cause) {
  return {cause, "write it as 'my-key-{version}', with {instance} and {check} as needed",
          ErrorCode::invalid_input};
}

}  // namespace

Outcome<> check_instance(std::string_view name) {
  if (is_instance(name)) return {};
  return Error("'" + std::string(name) + "' cannot name an instance",
               "use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit");
}

Outcome<KeyIdFormat> KeyIdFormat::parse(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, Part>, 3> parts{{
      {"{instance}", Part::instance},
      {"{version}", Part::version},
      {"{check}", Part::check},
  }};
  if (utf8_text(text) != text) return bad_format("it is not UTF-8");
  KeyIdFormat format(text);
  std::size_t size = 0;
  while (!text.empty()) {
    Piece piece{Part::literal, std::string(text.substr(0, text.find('{')))};
    if (piece.literal.empty()) {
      const auto* const found = std::find_if(parts.begin(), parts.end(),
                                             [&](const auto& part) { return text.starts_with(part.first); });
      if (found == parts.end())
        return bad_format("it has a { that begins none of {instance}, {version}, {check}");
      if (std::any_of(format.pieces_.begin(), format.pieces_.end(),
                      [&](const Piece& earlier) { return earlier.part == found->second; })) {
        return bad_format("it has " + std::string(found->first) + " twice");
      }
      piece.part = found->second;
      text.remove_prefix(found->first.size());
    }
    text.remove_prefix(piece.literal.size());
    size += piece.part == Part::instance  ? max_instance
            : piece.part == Part::version ? max_version
            : piece.part == Part::check   ? check_digits
                                          : piece.literal.size();
    format.pieces_.push_back(std::move(piece));
  }
  if (format.text_.find("{version}") == std::string::npos) return bad_format("it does not contain {version}");
  if (size > max_id_size) return bad_format("its key ids can be longer than 1024 bytes");
  return format;
}

std::string KeyIdFormat::write(const KeyId& id) const {
  std::string text;
  for (const Piece& piece : pieces_) {
    text += piece.part == Part::instance  ? id.instance
            : piece.part == Part::version ? std::to_string(id.version)
            : piece.part == Part::check   ? id.check
                                          : piece.literal;
  }
  return text;
}

std::optional<KeyId> KeyIdFormat::read(std::string_view text, const std::string* instance) const {
  KeyId id;
  if (!read_from(0, text, instance, id)) return std::nullopt;
  return id;
}

/// Tries each size that the piece may have, the largest first.
bool KeyIdFormat::read_from(std::size_t piece, std::string_view rest, const std::string* instance,
                            KeyId& id) const {
  if (piece == pieces_.size()) return rest.empty();
  const auto& [part, literal] = pieces_[piece];
  const std::string* const fixed = part == Part::literal                           ? &literal
                                   : part == Part::instance && instance != nullptr ? instance
                                                                                   : nullptr;
  std::size_t min = 1;
  std::size_t max = part == Part::instance ? max_instance : max_version;
  if (fixed != nullptr) min = max = fixed->size();
  if (part == Part::check) min = max = check_digits;
  for (std::size_t size = std::min(max, rest.size()); size >= min; --size) {
    const std::string_view taken = rest.substr(0, size);
    if (fixed != nullptr && taken != *fixed) return false;
    if (part == Part::instance) {
      if (!is_instance(taken)) continue;
      id.instance = taken;
    } else if (part == Part::check) {
      if (!is_check(taken)) return false;
      id.check = taken;
    } else if (part == Part::version) {
      const auto version = version_of(taken);
      if (!version) continue;
      id.version = *version;
    }
    if (read_from(piece + 1, rest.substr(size), instance, id)) return true;
  }
  return false;
}

}  // namespace kms::provider
