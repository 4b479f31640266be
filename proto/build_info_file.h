// build-info.json as a file: read, rendered, and matched with the binary beside it.
//
// Functions without state, safe from any thread. The builder writes the file; the supervisor reads it.
// Nothing here trusts it: a file that is missing, damaged or about another binary describes nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "proto/build_info.pb.h"

namespace kms {

inline constexpr auto build_info_name = "build-info.json";  ///< in the binary's folder

/// The whole file; nothing where it is missing or is no build info.
[[nodiscard]] std::optional<mock_kms::v1::BuildInfo> read_build_info(const std::filesystem::path& file);

/// The record of the binary that has this digest: the file's own, or that of its predecessor while the file
/// is already new and the binary still the old one; nothing where it is about neither.
[[nodiscard]] std::optional<mock_kms::v1::BuildInfo> build_info_describing(
    const mock_kms::v1::BuildInfo& file, const std::string& sha256);

/// Protobuf's JSON mapping, for people to read: indented, with a line end at its end.
[[nodiscard]] std::string build_info_json(const mock_kms::v1::BuildInfo& info);

/// 64 hex digits, of what can be read from `fd` from its beginning on. Throws Error.
[[nodiscard]] std::string sha256_of(int fd);

/// The same for a file; nothing where there is none. Throws Error where it cannot be read.
[[nodiscard]] std::optional<std::string> sha256_of_file(const std::filesystem::path& file);

}  // namespace kms
