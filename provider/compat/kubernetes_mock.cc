#include "provider/compat/kubernetes_mock.h"

#include <absl/strings/escaping.h>

namespace kms::provider {
namespace {

Error no_uid() { return {"uid is required", "", ErrorCode::invalid_input}; }

}  // namespace

Outcome<SecretBytes> decode_kubernetes_mock(Bytes ciphertext) {
  std::string plaintext;
  const WipeAtEnd wiping(plaintext);
  const std::string_view text = text_of(ciphertext);
  if (absl::Base64Unescape({text.data(), text.size()}, &plaintext)) {
    return SecretBytes::copy_of(bytes_of(plaintext));
  }
  return Error("the ciphertext is not base64", "", ErrorCode::invalid_input);
}

Outcome<StatusAnswer> KubernetesMock::status() const {
  return StatusAnswer{"v2beta1", "ok", keys_.current()->id_text};
}

Outcome<EncryptAnswer> KubernetesMock::encrypt(std::string_view uid, Bytes plaintext,
                                               const SealOptions& options) const {
  if (uid.empty()) return no_uid();
  auto key = keys_.current();
  if (!options.under_current) key = keys_.at(another_version(key->id.version));
  return EncryptAnswer{
      *v1_encrypt(plaintext, options), key->id_text, {{std::string(annotation), "encrypted-local-kek"}}};
}

Outcome<SecretBytes> KubernetesMock::decrypt(const DecryptArguments& arguments) const {
  if (arguments.uid.empty()) return no_uid();
  return decode_kubernetes_mock(arguments.ciphertext);
}

VersionAnswer KubernetesMock::v1_version() const { return {"v1beta1", "testKMS", "0.0.1"}; }

Outcome<std::string> KubernetesMock::v1_encrypt(Bytes plaintext, const SealOptions& /*options*/) const {
  const std::string_view text = text_of(plaintext);
  return absl::Base64Escape({text.data(), text.size()});
}

Outcome<SecretBytes> KubernetesMock::v1_decrypt(Bytes cipher) const { return decode_kubernetes_mock(cipher); }

}  // namespace kms::provider
