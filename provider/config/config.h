// The file of `serve --config`, as a checked value. Pure functions, safe from any thread.
#pragma once

#include <string>

#include "common/error.h"
#include "proto/provider_config.pb.h"

namespace kms::provider {

/// Reads JSON (protobuf's mapping) and completes it: presets are filled in, and each fault has a name of its
/// own ("config-1" where none is given). A Error names what is wrong, on one line.
[[nodiscard]] Outcome<mock_kms::v1::ProviderConfig> parse_config(const std::string& text);

/// The same for a file. One that cannot be read is a Error too; `digest` becomes the SHA-256 of what was
/// read, in hex, or empty.
[[nodiscard]] Outcome<mock_kms::v1::ProviderConfig> read_config(const std::string& path, std::string& digest);

/// Reads a scenario alone, completed like that of a file.
[[nodiscard]] Outcome<mock_kms::v1::Scenario> parse_scenario(const std::string& text);

/// Fills presets in, names the faults of steps ("step-1" where none is given) and checks all.
[[nodiscard]] Outcome<mock_kms::v1::Scenario> complete_scenario(const mock_kms::v1::Scenario& scenario);

inline constexpr std::size_t max_text_file = std::size_t{1} << 20U;

/// The content of a file, `max_text_file` at most; a Error where it cannot be read, or is larger.
[[nodiscard]] Outcome<std::string> read_text_file(const std::string& path);

}  // namespace kms::provider
