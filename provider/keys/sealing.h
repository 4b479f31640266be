// Sealing makes the ciphertexts that Encrypt returns: nonce (12 bytes) || AES-256-GCM ciphertext || tag (16
// bytes).
//
// Callable from any thread. Format, instance and key id are bound as additional data: a ciphertext opens
// under the key id that sealed it and no other (contract rule 30). Nonces are random and fresh per call (rule
// 26). AES-GCM and the nonces are exposed for `inspect` and for tests with published vectors.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "provider/keys/key_ring.h"

namespace kms::provider {

/// The format's number, as the annotation carries it.
inline constexpr std::string_view seal_format = "1";

/// The number of bytes that sealing adds to a plaintext.
inline constexpr std::size_t seal_overhead = 28;

enum class Nonce {
  fresh,
  zero,  ///< the same for every call, which breaks rule 26 and the cipher; only a fault asks for it
};

/// Throws Error if OpenSSL fails.
[[nodiscard]] std::string seal(const Key& key, Bytes plaintext, Nonce choice = Nonce::fresh);

/// The plaintext; empty unless `sealed` is, to the bit, what seal() returned under `key`.
[[nodiscard]] std::optional<SecretBytes> open(const Key& key, Bytes sealed);

/// Fills `nonce` (1024 bytes at most) with random bytes that no other call gets, in this process or in a fork
/// of it. Throws Error if OpenSSL has none.
void draw_nonce(std::span<std::uint8_t> nonce);

/// AES-256-GCM (NIST SP 800-38D) with a 96-bit nonce and a 128-bit tag, by OpenSSL's EVP. Each thread has
/// cipher contexts that keep the schedule of the key they were used with last.
namespace aes_gcm {

inline constexpr std::size_t key_size = 32;
inline constexpr std::size_t nonce_size = 12;
inline constexpr std::size_t tag_size = 16;

/// Appends ciphertext and tag to `out`. `key` and `nonce` have the sizes above; use a nonce once per key.
/// Throws Error if OpenSSL fails.
void encrypt(Bytes key, Bytes nonce, Bytes additional, Bytes plaintext, std::string& out);

/// The plaintext of ciphertext and tag; empty if they do not belong to key, nonce and additional data.
[[nodiscard]] std::optional<SecretBytes> decrypt(Bytes key, Bytes nonce, Bytes additional, Bytes sealed);

}  // namespace aes_gcm
}  // namespace kms::provider
