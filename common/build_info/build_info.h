// Reads, prints and matches build-info.json, which the builder writes beside a binary and the supervisor
// reads.
//
// No function trusts the file: a missing or damaged one, or one about another binary, yields nothing.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "common/error.h"
#include "proto/build_info.pb.h"

namespace kms {

inline constexpr auto build_info_name = "build-info.json";  ///< in the binary's directory

/// An Error if the file is missing, longer than 1 MiB or not a build info.
[[nodiscard]] Outcome<mock_kms::v1::BuildInfo> read_build_info(const std::filesystem::path& file);

/// The record of the binary with this SHA-256. It is the file's own record, or `previous` if the binary is
/// still the old one. Empty if neither matches.
[[nodiscard]] std::optional<mock_kms::v1::BuildInfo> build_info_describing(
    const mock_kms::v1::BuildInfo& file, const std::string& sha256);

/// Indented JSON by protobuf's mapping, with a line end.
[[nodiscard]] std::string build_info_json(const mock_kms::v1::BuildInfo& info);

}  // namespace kms
