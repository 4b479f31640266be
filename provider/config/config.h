// Reads the file of `serve --config` and scenarios into checked, complete messages.
#pragma once

#include <string>

#include "common/error.h"
#include "proto/provider_config.pb.h"

namespace kms::provider {

/// Reads JSON (protobuf's mapping) and completes it: fields of presets are filled in, and each fault has a
/// unique name ("config-1" by default).
[[nodiscard]] Outcome<mock_kms::v1::ProviderConfig> parse_config(const std::string& text);

/// The same for a file. `digest` becomes the SHA-256 of the content in hex, or empty if it cannot be read.
[[nodiscard]] Outcome<mock_kms::v1::ProviderConfig> read_config(const std::string& path, std::string& digest);

/// Reads a scenario and completes it as one in a file.
[[nodiscard]] Outcome<mock_kms::v1::Scenario> parse_scenario(const std::string& text);

/// Checks the scenario, fills in the fields of presets and names the faults of steps ("step-1" by default).
[[nodiscard]] Outcome<mock_kms::v1::Scenario> complete_scenario(const mock_kms::v1::Scenario& scenario);

inline constexpr std::size_t max_text_file = std::size_t{1} << 20U;

/// The content of a file of at most `max_text_file` bytes.
[[nodiscard]] Outcome<std::string> read_text_file(const std::string& path);

}  // namespace kms::provider
