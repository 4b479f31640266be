// HKDF-SHA256 (RFC 5869), by OpenSSL's EVP_KDF. Pure functions, safe from any thread.
#pragma once

#include <cstddef>

#include "common/crypto/secret_bytes.h"

namespace kms::provider {

/// Extracts from `secret` and `salt` (may be empty) and expands to `length` bytes (1..8160) for `info`.
/// Throws kms::Error where OpenSSL fails.
[[nodiscard]] SecretBytes hkdf_sha256(Bytes secret, Bytes salt, Bytes info, std::size_t length);

/// Expands `pseudorandom_key` (32 bytes or more) alone, without the extraction before it. Throws kms::Error
/// where OpenSSL fails.
[[nodiscard]] SecretBytes hkdf_sha256_expand(Bytes pseudorandom_key, Bytes info, std::size_t length);

/// Appends the field's size (4 bytes, big-endian) and the field, so that no two lists of fields look alike.
void append_field(std::string& to, std::string_view field);

}  // namespace kms::provider
