// KubernetesMock answers as the KMS plugin of Kubernetes' own integration tests (k8s.io/apiserver,
// encrypt/envelope/testing): base64 in place of encryption, and key ids "1", "2" and so on.
//
// Called from any thread; borrows the key ring, of which it uses only the version. Its ring needs
// `key_id_format`. It protects nothing, and each instance decrypts for every other.
#pragma once

#include <string>
#include <string_view>

#include "provider/kms/service.h"

namespace kms::provider {

class KubernetesMock final : public KmsService {
 public:
  static constexpr auto key_id_format = "{version}";
  static constexpr std::string_view annotation = "local-kek.kms.kubernetes.io";

  explicit KubernetesMock(KeyRing& keys) : keys_(keys) {}

  [[nodiscard]] Outcome<StatusAnswer> status() const override;
  [[nodiscard]] Outcome<EncryptAnswer> encrypt(std::string_view uid, Bytes plaintext,
                                               const SealOptions& options) const override;
  /// Needs ciphertext and uid alone.
  [[nodiscard]] Outcome<SecretBytes> decrypt(const DecryptArguments& arguments) const override;

  [[nodiscard]] VersionAnswer v1_version() const override;
  [[nodiscard]] Outcome<std::string> v1_encrypt(Bytes plaintext, const SealOptions& options) const override;
  [[nodiscard]] Outcome<SecretBytes> v1_decrypt(Bytes cipher) const override;
  [[nodiscard]] std::string_view v1_key_id(std::string_view) const override { return {}; }

 private:
  KeyRing& keys_;
};

/// Decodes a ciphertext of the mock; an Error if it is not base64.
[[nodiscard]] Outcome<SecretBytes> decode_kubernetes_mock(Bytes ciphertext);

}  // namespace kms::provider
