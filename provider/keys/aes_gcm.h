// AES-256-GCM (NIST SP 800-38D) with a 96-bit nonce and a 128-bit tag, by OpenSSL's EVP.
//
// Functions, safe from any thread: each thread has cipher contexts of its own, which keep the schedule of the
// key that they were used with last until another comes or the thread ends. They never choose a nonce;
// sealing.h does.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "common/crypto/secret_bytes.h"

namespace kms::provider::aes_gcm {

inline constexpr std::size_t key_size = 32;
inline constexpr std::size_t nonce_size = 12;
inline constexpr std::size_t tag_size = 16;

/// Appends ciphertext and tag to `out`. `key` and `nonce` have the sizes above; a nonce is used once per key.
/// Throws kms::Error where OpenSSL fails.
void encrypt(Bytes key, Bytes nonce, Bytes additional, Bytes plaintext, std::string& out);

/// The plaintext of ciphertext and tag, or nothing where they do not belong to key, nonce and additional
/// data.
[[nodiscard]] std::optional<SecretBytes> decrypt(Bytes key, Bytes nonce, Bytes additional, Bytes sealed);

}  // namespace kms::provider::aes_gcm
