// KmsService answers the three methods of KMS v2 in plain C++ types. It knows no gRPC.
//
// Called from any thread; borrows the key ring. It keeps nothing of a call and never logs. Each Error has a
// code (contract rule 32) and a text for the client, without secrets.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/error.h"
#include "provider/keys/key_ring.h"
#include "provider/keys/sealing.h"

namespace kms::provider {

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

/// The arguments of Decrypt; the views live as long as the call.
struct DecryptArguments {
  Bytes ciphertext;
  std::string_view key_id;
  Annotations annotations;
};

class KmsService {
 public:
  explicit KmsService(KeyRing& keys) : keys_(keys) {}

  /// Seals and opens a canary under the current key first: a provider that cannot do both is not healthy
  /// (rule 17).
  [[nodiscard]] Outcome<StatusAnswer> status() const;

  /// Takes any plaintext and any uid but an empty one (rule 25). A fault asks for another version than the
  /// `current` one that Status shows (which breaks rule 14), or for a repeated nonce.
  [[nodiscard]] Outcome<EncryptAnswer> encrypt(std::string_view uid, Bytes plaintext, bool current = true,
                                               Nonce nonce = Nonce::fresh) const;

  /// Needs no uid: ciphertext, key id and annotations are enough (rule 28). ErrorCode::not_found: a
  /// well-formed key id of another seed or instance.
  [[nodiscard]] Outcome<SecretBytes> decrypt(const DecryptArguments& arguments) const;

 private:
  KeyRing& keys_;
};

}  // namespace kms::provider
