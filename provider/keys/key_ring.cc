#include "provider/keys/key_ring.h"

#include "common/crypto/bytes.h"
#include "provider/keys/aes_gcm.h"
#include "provider/keys/hkdf.h"

namespace kms::provider {
namespace {

constexpr std::size_t check_size = 4;

SecretBytes derive_from(const SecretBytes& seed, std::string_view purpose, const std::string& instance,
                        KeyVersion version, std::size_t length) {
  std::string info;
  append_field(info, purpose);
  append_field(info, instance);
  append_field(info, std::to_string(version));
  return hkdf_sha256(seed.view(), {}, bytes_of(info), length);
}

}  // namespace

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
