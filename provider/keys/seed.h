// The seed from which all keys are derived: read from a file, or the published one, which protects nothing.
//
// Called by main before any thread starts. No function prints, copies or keeps a byte of a seed.
#pragma once

#include <string>

#include "common/crypto/secret_bytes.h"
#include "common/error.h"

namespace kms::provider {

inline constexpr std::size_t seed_size = 32;

/// A seed that everyone knows, for tests: SHA-256 of "mock-kms-provider published test seed".
[[nodiscard]] SecretBytes published_test_seed();

/// Reads a seed file: 32 bytes, or 64 hexadecimal digits and nothing else. A file of any other form is
/// refused with the reason.
[[nodiscard]] Outcome<SecretBytes> read_seed_file(const std::string& path);

/// The same for a file's content; `path` names it in a refusal.
[[nodiscard]] Outcome<SecretBytes> parse_seed(Bytes content, const std::string& path);

}  // namespace kms::provider
