// AesService is the provider's own KMS: it seals by AES-256-GCM under the keys of a ring.
//
// Called from any thread; borrows the key ring.
#pragma once

#include <string>
#include <string_view>

#include "provider/kms/service.h"

namespace kms::provider {

class AesService final : public KmsService {
 public:
  explicit AesService(KeyRing& keys) : keys_(keys) {}

  /// Seals and opens a canary under the current key first: a provider that cannot do both is not healthy
  /// (rule 17).
  [[nodiscard]] Outcome<StatusAnswer> status() const override;

  [[nodiscard]] Outcome<EncryptAnswer> encrypt(std::string_view uid, Bytes plaintext,
                                               const SealOptions& options) const override;

  /// Needs no uid: ciphertext, key id and annotations are enough (rule 28). ErrorCode::not_found: a
  /// well-formed key id of another seed or instance.
  [[nodiscard]] Outcome<SecretBytes> decrypt(const DecryptArguments& arguments) const override;

  [[nodiscard]] VersionAnswer v1_version() const override;

  /// KMS v1 keeps no key id beside a cipher. So the cipher begins with the key id: its size (4 bytes,
  /// big-endian), its text, and then the sealed plaintext.
  [[nodiscard]] Outcome<std::string> v1_encrypt(Bytes plaintext, const SealOptions& options) const override;
  [[nodiscard]] Outcome<SecretBytes> v1_decrypt(Bytes cipher) const override;
  [[nodiscard]] std::string_view v1_key_id(std::string_view cipher) const override;

 private:
  [[nodiscard]] std::shared_ptr<const Key> key(const SealOptions& options) const;
  [[nodiscard]] Outcome<SecretBytes> open_under(std::string_view key_id, Bytes ciphertext) const;

  KeyRing& keys_;
};

/// The same without a service.
[[nodiscard]] std::string_view key_id_in_v1_cipher(std::string_view cipher);

}  // namespace kms::provider
