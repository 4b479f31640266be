// SshSignature is a signature as `ssh-keygen -Y sign` makes it (OpenSSH's PROTOCOL.sshsig).
//
// A value; pure; safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "common/error.h"

namespace kms::builder {

struct SshSignature {
  std::string key;         ///< the signer's public key, in SSH's binary form
  std::string name_space;  ///< what it is a signature for: git's is "git"
  std::string hash;        ///< "sha256" or "sha512"
  std::string signature;   ///< in SSH's binary form

  /// Reads the armored form. Refuses what is malformed and other versions.
  [[nodiscard]] static Outcome<SshSignature> parse(std::string_view armored);

  /// The bytes that a signer of `message` really signs.
  [[nodiscard]] std::string signed_bytes(std::string_view message) const;
};

}  // namespace kms::builder
