#include "provider/keys/key_id.h"

#include <algorithm>
#include <charconv>

namespace kms::provider {
namespace {

constexpr std::size_t max_instance = 63;
constexpr std::size_t check_digits = 8;

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

}  // namespace

std::string KeyId::text() const { return instance + "/v" + std::to_string(version) + "/" + check; }

std::optional<KeyId> KeyId::parse(std::string_view text) {
  const auto first = text.find('/');
  const auto second = text.find('/', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const std::string_view instance = text.substr(0, first);
  const std::string_view version = text.substr(first + 1, second - first - 1);
  const std::string_view check = text.substr(second + 1);
  // One key has one id: no leading zeros, no version 0.
  if (version.size() < 2 || version[0] != 'v' || version[1] == '0') return std::nullopt;
  KeyId id{std::string(instance), 0, std::string(check)};
  const auto [end, error] = std::from_chars(version.data() + 1, version.data() + version.size(), id.version);
  if (error != std::errc{} || end != version.data() + version.size()) return std::nullopt;
  if (!is_instance(instance) || !is_check(check)) return std::nullopt;
  return id;
}

Outcome<> refuse_instance(std::string_view name) {
  if (is_instance(name)) return {};
  return Error("'" + std::string(name) + "' cannot name an instance",
               "use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit");
}

}  // namespace kms::provider
