// A value as kube-apiserver stores it in etcd: "k8s:enc:kms:v2:<name>:" and an EncryptedObject. Pure
// functions, safe from any thread; they take whatever bytes there are.
#pragma once

#include <string>
#include <variant>

#include "common/crypto/bytes.h"
#include "common/error.h"
#include "proto/etcd_value.pb.h"

namespace kms::provider {

/// What is stored of one object, whole and by the API server's own rules (kmsv2.ValidateEncryptedObject).
struct EtcdValue {
  std::string provider_name;  ///< of the EncryptionConfiguration
  mock_kms::v1::EncryptedObject object;
};

/// A value that KMS v2 did not encrypt.
struct NotKmsV2 {
  std::string what;  ///< "is not encrypted: ...", to be said of the value
};

/// A Error says what is wrong with a value that begins as one of KMS v2, and of one of no bytes.
[[nodiscard]] std::variant<EtcdValue, NotKmsV2, Error> parse_etcd_value(Bytes stored);

/// Whether the bytes begin as anything that the API server stores: encrypted, JSON or protobuf.
[[nodiscard]] bool begins_as_stored(std::string_view bytes);

}  // namespace kms::provider
