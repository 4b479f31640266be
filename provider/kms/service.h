// KmsService answers the three methods of KMS v2 in plain C++ types; it knows no gRPC.
//
// Called from any thread; borrows the key ring. It keeps nothing of a call and never logs. Each refusal has a
// code (contract rule 32) and a text for the caller without secrets.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "provider/keys/key_ring.h"
#include "provider/keys/sealing.h"

namespace kms::provider {

enum class RefusalCode {
  invalid_argument,  ///< the request is malformed, or its parts do not belong together
  not_found,         ///< a well-formed key id of another seed or instance
  internal,          ///< the provider cannot seal or open, whatever it is asked
};

struct Refusal {
  RefusalCode code;
  std::string message;
};

template <class T>
using Answer = std::variant<T, Refusal>;

using Annotations = std::map<std::string, std::string, std::less<>>;

struct StatusAnswer {
  std::string version;
  std::string healthz;
  std::string key_id;
};

struct EncryptAnswer {
  std::string ciphertext;
  std::string key_id;
  Annotations annotations;
};

/// What Decrypt is given; the views live as long as the call.
struct DecryptQuestion {
  Bytes ciphertext;
  std::string_view key_id;
  Annotations annotations;
};

class KmsService {
 public:
  explicit KmsService(KeyRing& keys) : keys_(keys) {}

  /// Seals and opens a canary under the current key first: what cannot do both is not healthy (rule 17).
  [[nodiscard]] Answer<StatusAnswer> status() const;

  /// Any plaintext, any uid but an empty one (rule 25). Where it is `ahead` of Status, under another
  /// version than the current one, which breaks rule 14.
  [[nodiscard]] Answer<EncryptAnswer> encrypt(std::string_view uid, Bytes plaintext, bool ahead = false,
                                              Nonce nonce = Nonce::fresh) const;

  /// Needs no uid: ciphertext, key id and annotations are enough (rule 28).
  [[nodiscard]] Answer<SecretBytes> decrypt(const DecryptQuestion& question) const;

  [[nodiscard]] KeyRing& keys() const { return keys_; }

 private:
  KeyRing& keys_;
};

}  // namespace kms::provider
