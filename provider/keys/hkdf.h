// HKDF-SHA256 (RFC 5869), by OpenSSL's EVP_KDF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/crypto/secret_bytes.h"

namespace kms::provider {

/// Extracts from `secret` and `salt` (may be empty) and expands to `length` bytes (1..8160) for `info`.
/// Throws Error.
[[nodiscard]] SecretBytes hkdf_sha256(Bytes secret, Bytes salt, Bytes info, std::size_t length);

/// Expands `pseudorandom_key` (32 bytes or more) without the extraction before it. Throws Error.
[[nodiscard]] SecretBytes hkdf_sha256_expand(Bytes pseudorandom_key, Bytes info, std::size_t length);

/// Appends the field's size (4 bytes, big-endian) and the field. Two different lists of fields never give the
/// same bytes.
void append_field(std::string& to, std::string_view field);

}  // namespace kms::provider
