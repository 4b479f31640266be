#include "provider/keys/key_ring.h"

#include <algorithm>
#include <charconv>

#include "common/crypto/bytes.h"
#include "provider/keys/hkdf.h"
#include "provider/keys/sealing.h"

namespace kms::provider {
namespace {

constexpr std::size_t check_size = 4;
constexpr std::size_t max_instance = 63;
constexpr std::size_t check_digits = 2 * check_size;

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

SecretBytes derive_from(const SecretBytes& seed, std::string_view purpose, const std::string& instance,
                        KeyVersion version, std::size_t length) {
  std::string info;
  append_field(info, purpose);
  append_field(info, instance);
  append_field(info, std::to_string(version));
  return hkdf_sha256(seed.view(), {}, bytes_of(info), length);
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
  // Each key has exactly one id: no leading zeros, no version 0.
  if (version.size() < 2 || version[0] != 'v' || version[1] == '0') return std::nullopt;
  KeyId id{std::string(instance), 0, std::string(check)};
  const auto [end, error] = std::from_chars(version.data() + 1, version.data() + version.size(), id.version);
  if (error != std::errc{} || end != version.data() + version.size()) return std::nullopt;
  if (!is_instance(instance) || !is_check(check)) return std::nullopt;
  return id;
}

Outcome<> check_instance(std::string_view name) {
  if (is_instance(name)) return {};
  return Error("'" + std::string(name) + "' cannot name an instance",
               "use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit");
}

KeyRing::KeyRing(SecretBytes seed, std::string instance, KeyVersion current)
    : seed_(std::move(seed)), instance_(std::move(instance)), current_(derive(current)) {}

std::shared_ptr<const Key> KeyRing::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

std::shared_ptr<const Key> KeyRing::at(KeyVersion version) {
  {
    const std::lock_guard lock(mutex_);
    if (current_->id.version == version) return current_;
    if (const auto found = cache_.find(version); found != cache_.end()) return found->second;
  }
  auto key = derive(version);
  const std::lock_guard lock(mutex_);
  if (cache_.emplace(version, key).second) oldest_first_.push_back(version);
  if (oldest_first_.size() > max_cached) {
    cache_.erase(oldest_first_.front());
    oldest_first_.pop_front();
  }
  return key;
}

void KeyRing::set_current(KeyVersion version) {
  auto key = derive(version);
  const std::lock_guard lock(mutex_);
  current_ = std::move(key);
}

std::shared_ptr<const Key> KeyRing::derive(KeyVersion version) const {
  const SecretBytes check = derive_from(seed_, "mock-kms key check", instance_, version, check_size);
  KeyId id{instance_, version, hex_of(check.view())};
  std::string text = id.text();
  return std::make_shared<const Key>(
      Key{std::move(id), std::move(text),
          derive_from(seed_, "mock-kms key encryption key", instance_, version, aes_gcm::key_size)});
}

}  // namespace kms::provider
