// Presets name faults after the failures that they imitate. Beside them: reading and completing a fault.
#pragma once

#include <string>
#include <vector>

#include "common/error.h"
#include "proto/provider_faults.pb.h"

namespace kms::provider {

struct Preset {
  std::string name;
  std::string meaning;  ///< one line
  std::string json;     ///< a Fault in protobuf's JSON mapping
};

[[nodiscard]] const std::vector<Preset>& presets();

/// Finds a preset by its name in any case. nullptr: no preset has the name.
[[nodiscard]] const Preset* preset_named(const std::string& name);

/// Fills the preset's fields in and checks all values. A complete fault has exactly one effect.
[[nodiscard]] Outcome<mock_kms::v1::Fault> complete_fault(const mock_kms::v1::Fault& fault);

/// Reads JSON, the name of a preset or a violation such as "key-id-empty". The result is not complete.
[[nodiscard]] Outcome<mock_kms::v1::Fault> read_fault(const std::string& text);

}  // namespace kms::provider
