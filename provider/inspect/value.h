// Reads a value as kube-apiserver stores it in etcd and decrypts its object as kube-apiserver does. The
// functions take any bytes.
//
//   k8s:enc:kms:v2:<name>:  and an EncryptedObject
//   k8s:enc:kms:v1:<name>:  the size of the encrypted DEK (2 bytes, big-endian), the encrypted DEK, the data
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "common/crypto/secret_bytes.h"
#include "common/error.h"
#include "proto/etcd_value.pb.h"

namespace kms::provider {

/// A whole value that the API server would accept (kmsv2.ValidateEncryptedObject). One of KMS v1 has no key
/// id and no annotations, and its DEK source is a key.
struct EtcdValue {
  std::string provider_name;  ///< of the EncryptionConfiguration
  mock_kms::v1::EncryptedObject object;
  bool is_v1 = false;
};

/// A value that no KMS encrypted.
struct NotKms {
  std::string description;  ///< a predicate of "the value": "is not encrypted: ..."
};

/// An Error describes a damaged value of KMS, or that there is no value.
[[nodiscard]] std::variant<EtcdValue, NotKms, Error> parse_etcd_value(Bytes stored);

/// The key id beside the DEK source. KMS v1 keeps none; AesService writes it into the DEK source. Empty if
/// there is none.
[[nodiscard]] std::string key_id_of(const EtcdValue& value);

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
