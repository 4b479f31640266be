// Decrypts the object of a stored value as kube-apiserver does. A pure function, safe from any thread.
#pragma once

#include <string_view>

#include "common/crypto/secret_bytes.h"
#include "common/error.h"
#include "proto/etcd_value.pb.h"

namespace kms::provider {

/// `dek_source` is the plaintext of object.encrypted_dek_source(). `etcd_key` is bound to the data as
/// additional data, so that a value opens under its own key alone. Formats (k8s.io/apiserver, encrypt/aes/
/// aes_extended_nonce.go and aes_gcm.go):
///   seed  info (32 bytes), then as below under HKDF-Expand-SHA256(seed, info, 32)
///   key   nonce (12 bytes), AES-GCM ciphertext, tag (16 bytes)
/// Throws kms::Error where OpenSSL fails.
[[nodiscard]] Outcome<SecretBytes> open_object(const SecretBytes& dek_source,
                                               const mock_kms::v1::EncryptedObject& object,
                                               std::string_view etcd_key);

}  // namespace kms::provider
