// SHA-256 of bytes and of files.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "common/crypto/bytes.h"

namespace kms {

/// 32 bytes. Throws Error.
[[nodiscard]] std::array<std::uint8_t, 32> sha256(Bytes bytes);

/// 64 lower-case hexadecimal digits. Throws Error.
[[nodiscard]] std::string sha256_hex(Bytes bytes);

/// The same for all that `fd` holds from its start, without moving its offset. Throws Error.
[[nodiscard]] std::string sha256_of(int fd);

/// The same for a file; empty if there is no such file. Throws Error if the file cannot be read.
[[nodiscard]] std::optional<std::string> sha256_of_file(const std::filesystem::path& file);

}  // namespace kms
