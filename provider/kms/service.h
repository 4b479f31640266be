// KmsService answers the methods of KMS v2 and KMS v1 in plain C++ types. It knows no gRPC.
//
// Called from any thread. An implementation keeps nothing of a call and never logs. Each Error has a code
// (contract rule 32) and a text for the client, without secrets.
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
  std::string_view uid = {};
};

/// KMS v1's Version.
struct VersionAnswer {
  std::string version;
  std::string runtime_name;
  std::string runtime_version;
};

/// Correct by default. A fault asks for other values.
struct SealOptions {
  bool under_current = true;  ///< the key that Status shows; false: another version, which breaks rule 14
  Nonce nonce = Nonce::fresh;
};

class KmsService {
 public:
  KmsService() = default;
  KmsService(const KmsService&) = delete;
  KmsService& operator=(const KmsService&) = delete;
  virtual ~KmsService() = default;

  [[nodiscard]] virtual Outcome<StatusAnswer> status() const = 0;

  /// Takes any plaintext and any uid but an empty one (rule 25).
  [[nodiscard]] virtual Outcome<EncryptAnswer> encrypt(std::string_view uid, Bytes plaintext,
                                                       const SealOptions& options) const = 0;

  [[nodiscard]] virtual Outcome<SecretBytes> decrypt(const DecryptArguments& arguments) const = 0;

  [[nodiscard]] virtual VersionAnswer v1_version() const = 0;
  [[nodiscard]] virtual Outcome<std::string> v1_encrypt(Bytes plaintext,
                                                        const SealOptions& options) const = 0;
  [[nodiscard]] virtual Outcome<SecretBytes> v1_decrypt(Bytes cipher) const = 0;

  /// The key id in a cipher of v1_encrypt(); empty if it has none.
  [[nodiscard]] virtual std::string_view v1_key_id(std::string_view cipher) const = 0;
};

}  // namespace kms::provider
