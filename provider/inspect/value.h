// Reads a value as kube-apiserver stores it in etcd, "k8s:enc:kms:v2:<name>:" and an EncryptedObject, and
// decrypts its object as kube-apiserver does. The functions take any bytes.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "common/crypto/secret_bytes.h"
#include "common/error.h"
#include "proto/etcd_value.pb.h"

namespace kms::provider {

/// A whole value that the API server would accept (kmsv2.ValidateEncryptedObject).
struct EtcdValue {
  std::string provider_name;  ///< of the EncryptionConfiguration
  mock_kms::v1::EncryptedObject object;
};

/// A value that KMS v2 did not encrypt.
struct NotKmsV2 {
  std::string description;  ///< a predicate of "the value": "is not encrypted: ..."
};

/// An Error describes a damaged value of KMS v2, or that there is no value.
[[nodiscard]] std::variant<EtcdValue, NotKmsV2, Error> parse_etcd_value(Bytes stored);

/// True if the bytes begin as the API server's values do: encrypted, JSON or protobuf.
[[nodiscard]] bool begins_as_stored(std::string_view bytes);

/// The error for bytes that the API server does not store. It names the command to use.
[[nodiscard]] Error not_a_value(std::string_view bytes);

/// `dek_source` is the plaintext of object.encrypted_dek_source(). The data is bound to `etcd_key`: a value
/// opens only under its own key. Formats (k8s.io/apiserver, encrypt/aes/aes_extended_nonce.go and
/// aes_gcm.go):
///   seed  info (32 bytes), then as below under HKDF-Expand-SHA256(seed, info, 32)
///   key   nonce (12 bytes), AES-GCM ciphertext, tag (16 bytes)
/// Throws Error if OpenSSL fails.
[[nodiscard]] Outcome<SecretBytes> open_object(const SecretBytes& dek_source,
                                               const mock_kms::v1::EncryptedObject& object,
                                               std::string_view etcd_key);

}  // namespace kms::provider
