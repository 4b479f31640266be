// Sealing makes the ciphertexts that Encrypt gives out: nonce (12 bytes) || AES-256-GCM ciphertext || tag (16
// bytes).
//
// Functions, safe from any thread. Format, instance and key id are bound as additional data: a ciphertext
// opens under the key id that sealed it and no other (contract rule 30). Nonces are random and fresh per call
// (rule 26).
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "provider/keys/key_ring.h"

namespace kms::provider {

/// The format's number, as the annotation carries it.
inline constexpr std::string_view seal_format = "1";

/// What sealing adds to a plaintext, in bytes.
inline constexpr std::size_t seal_overhead = 28;

enum class Nonce {
  fresh,
  zero,  ///< the same for every call, which breaks rule 26 and the cipher: for a fault alone
};

/// Throws kms::Error where OpenSSL fails.
[[nodiscard]] std::string seal(const Key& key, Bytes plaintext, Nonce choice = Nonce::fresh);

/// The plaintext, or nothing where `sealed` is not, to the bit, what seal() gave under `key`.
[[nodiscard]] std::optional<SecretBytes> open(const Key& key, Bytes sealed);

}  // namespace kms::provider
