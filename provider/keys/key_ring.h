// KeyRing owns the seed and derives every key encryption key from it: KEK(version) = HKDF-SHA256(seed,
// instance, version).
//
// Called from any thread. The current version is all the state there is; changing it is one step that Status
// and Encrypt see together (contract rule 14), as both ask current(). Nothing is stored: each ring with the
// same seed and instance has the same keys at all versions (rule 29). It never gives the seed away.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "common/crypto/secret_bytes.h"
#include "provider/keys/key_id.h"

namespace kms::provider {

/// A key encryption key and its id. Shared: a call keeps the one it began with through a change of version.
struct Key {
  KeyId id;
  std::string id_text;
  SecretBytes bytes;  ///< 32 bytes, for AES-256
};

class KeyRing {
 public:
  /// How many keys are kept ready besides the current one; deriving one takes about 8 us.
  static constexpr std::size_t max_cached = 64;

  /// `seed` is 32 bytes; `instance` is one that refuse_instance() has nothing against; `current` is 1 or
  /// more.
  KeyRing(SecretBytes seed, std::string instance, KeyVersion current);

  [[nodiscard]] const std::string& instance() const { return instance_; }

  [[nodiscard]] std::shared_ptr<const Key> current() const;

  /// The key of any version from 1, derived now or remembered.
  [[nodiscard]] std::shared_ptr<const Key> at(KeyVersion version);

  /// Makes `version` (1 or more) the current one.
  void set_current(KeyVersion version);

 private:
  [[nodiscard]] std::shared_ptr<const Key> derive(KeyVersion version) const;

  const SecretBytes seed_;
  const std::string instance_;

  mutable std::mutex mutex_;  ///< guards all below
  std::shared_ptr<const Key> current_;
  std::map<KeyVersion, std::shared_ptr<const Key>> cache_;
  std::deque<KeyVersion> oldest_first_;
};

}  // namespace kms::provider
