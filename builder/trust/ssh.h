// SSH's keys and signatures: SshKey checks signatures, SshSignature is what `ssh-keygen -Y sign` writes.
//
// Values, immutable; safe from any thread. OpenSSL does all cryptography. The bytes come from strangers: what
// is malformed is refused.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/crypto/openssl.h"
#include "common/error.h"

namespace kms::builder {

/// Reads the parts of SSH's binary messages (RFC 4251, section 5). A part that does not fit is empty, and so
/// is every part after it.
class SshWire {
 public:
  /// `bytes` outlive the reader.
  explicit SshWire(std::string_view bytes) : rest_(bytes) {}

  /// True if everything was read, and all of it was there.
  [[nodiscard]] bool at_end() const { return !failed_ && rest_.empty(); }

  std::optional<std::uint32_t> uint32();

  /// A length and that many bytes; refers to the bytes that were given.
  std::optional<std::string_view> string();

  /// An integer's bytes without leading zeros; empty if it is negative.
  std::optional<std::string_view> positive_integer();

  std::optional<std::string_view> take(std::size_t size);

 private:
  std::string_view rest_;
  bool failed_ = false;
};

/// A public key: Ed25519, ECDSA on NIST's curves, or RSA.
class SshKey {
 public:
  /// Reads the binary form of RFC 4253, 5656 and 8709. Refuses other kinds of keys (security keys, DSA,
  /// certificates), and RSA below 2048 or above 8192 bits.
  [[nodiscard]] static Outcome<SshKey> parse(std::string_view blob);

  /// True if `signature` (RFC 4253: the algorithm's name, then its bytes) is this key's for `message`. RSA
  /// counts only with SHA-2.
  [[nodiscard]] bool verifies(std::string_view message, std::string_view signature) const;

 private:
  SshKey(std::string type, openssl::Key key) : type_(std::move(type)), key_(std::move(key)) {}

  std::string type_;  ///< "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa", ...
  openssl::Key key_;
};

/// A signature by OpenSSH's PROTOCOL.sshsig.
struct SshSignature {
  std::string key;         ///< the signer's public key, in SSH's binary form
  std::string name_space;  ///< its purpose: git's is "git"
  std::string hash;        ///< "sha256" or "sha512"
  std::string signature;   ///< in SSH's binary form

  /// Reads the armored form. Refuses other versions.
  [[nodiscard]] static Outcome<SshSignature> parse(std::string_view armored);

  /// The bytes that a signer of `message` signs.
  [[nodiscard]] std::string signed_bytes(std::string_view message) const;
};

/// The type that a key's binary form begins with; "" if it is malformed.
[[nodiscard]] std::string ssh_key_type(std::string_view blob);

/// "SHA256:..." of a key's binary form, as ssh-keygen -l prints it.
[[nodiscard]] std::string ssh_fingerprint(std::string_view blob);

/// Base64 (RFC 4648) with its padding and without blanks; empty if `text` is anything else.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace kms::builder
