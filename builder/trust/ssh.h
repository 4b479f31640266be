// SshKey is an SSH public key that signatures are checked with: Ed25519, ECDSA on NIST's curves, or RSA.
//
// A value, immutable; safe from any thread. All cryptography is OpenSSL's.
#pragma once

#include <string>
#include <string_view>

#include "builder/trust/openssl.h"
#include "common/error.h"

namespace kms::builder {

class SshKey {
 public:
  /// Reads RFC 4253's, 5656's and 8709's binary form. Refuses what is malformed, other kinds of keys
  /// (security keys, DSA, certificates), and RSA below 2048 or above 8192 bits.
  [[nodiscard]] static Outcome<SshKey> parse(std::string_view blob);

  /// Whether `signature` (RFC 4253's form: its algorithm's name, then its bytes) is this key's for `message`.
  /// RSA only with SHA-2. Garbage is no signature.
  [[nodiscard]] bool verifies(std::string_view message, std::string_view signature) const;

 private:
  SshKey(std::string type, openssl::Key key) : type_(std::move(type)), key_(std::move(key)) {}

  std::string type_;  ///< "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa", ...
  openssl::Key key_;
};

/// The kind of key that a binary form begins with, "" where it is none.
[[nodiscard]] std::string ssh_key_type(std::string_view blob);

/// "SHA256:..." of a key's binary form, as ssh-keygen -l prints it.
[[nodiscard]] std::string ssh_fingerprint(std::string_view blob);

}  // namespace kms::builder
