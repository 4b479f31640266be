// KeyRing owns the seed and derives every key encryption key from it: KEK(version) = HKDF-SHA256(seed,
// instance, version). The seed comes from a file, or is the published one, which protects nothing.
//
// Called from any thread. The current version is all the state. Status and Encrypt both ask current(), so
// they see a change of version together (contract rule 14). No key is stored: each ring with the same seed
// and instance has the same keys at all versions (rule 29). The ring never gives the seed away.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "common/crypto/secret_bytes.h"
#include "common/error.h"
#include "provider/keys/key_id.h"

namespace kms::provider {

/// A key encryption key and its id. Shared: a call keeps the key it began with when the version changes.
struct Key {
  KeyId id;
  std::string id_text;
  SecretBytes bytes;  ///< 32 bytes, for AES-256
};

class KeyRing {
 public:
  /// The number of cached keys besides the current one; deriving one takes about 8 us.
  static constexpr std::size_t max_cached = 64;

  /// `seed` has 32 bytes, `instance` passes check_instance(), `current` is at least 1.
  KeyRing(SecretBytes seed, std::string instance, KeyVersion current, KeyIdFormat format = {});

  [[nodiscard]] const std::string& instance() const { return instance_; }
  [[nodiscard]] const KeyIdFormat& format() const { return format_; }

  [[nodiscard]] std::shared_ptr<const Key> current() const;

  /// The key of any version from 1, derived or from the cache.
  [[nodiscard]] std::shared_ptr<const Key> at(KeyVersion version);

  /// Makes `version` (at least 1) the current one.
  void set_current(KeyVersion version);

 private:
  [[nodiscard]] std::shared_ptr<const Key> derive(KeyVersion version) const;

  const SecretBytes seed_;
  const std::string instance_;
  const KeyIdFormat format_;

  mutable std::mutex mutex_;  ///< guards all below
  std::shared_ptr<const Key> current_;
  std::map<KeyVersion, std::shared_ptr<const Key>> cache_;
  std::deque<KeyVersion> oldest_first_;
};

inline constexpr std::size_t seed_size = 32;

/// A seed that everyone knows, for tests: SHA-256 of "mock-kms-provider published test seed".
[[nodiscard]] SecretBytes published_test_seed();

/// Reads a seed file: 32 bytes, or 64 hexadecimal digits and nothing else. It keeps no byte of the seed.
[[nodiscard]] Outcome<SecretBytes> read_seed_file(const std::string& path);

/// The same for a file's content; `path` names it in an Error.
[[nodiscard]] Outcome<SecretBytes> parse_seed(Bytes content, const std::string& path);

/// HKDF-SHA256 (RFC 5869), by OpenSSL's EVP_KDF: extracts from `secret` and `salt` (may be empty) and expands
/// to `length` bytes (1..8160) for `info`. Throws Error.
[[nodiscard]] SecretBytes hkdf_sha256(Bytes secret, Bytes salt, Bytes info, std::size_t length);

/// Expands `pseudorandom_key` (32 bytes or more) without the extraction before it. Throws Error.
[[nodiscard]] SecretBytes hkdf_sha256_expand(Bytes pseudorandom_key, Bytes info, std::size_t length);

/// Appends the field's size (4 bytes, big-endian) and the field. Two different lists of fields never give the
/// same bytes.
void append_field(std::string& to, std::string_view field);

}  // namespace kms::provider
