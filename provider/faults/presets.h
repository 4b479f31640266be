// Faults under the names of what they imitate. Pure functions, safe from any thread.
#pragma once

#include <string>
#include <vector>

#include "common/error.h"
#include "proto/provider_faults.pb.h"

namespace kms::provider {

struct Preset {
  std::string name;
  std::string meaning;  ///< for people, on one line
  std::string json;     ///< a Fault, as protobuf maps it
};

[[nodiscard]] const std::vector<Preset>& presets();

/// The fault with what its preset stands for filled in, and checked: it has one effect, and all of its values
/// make sense. A Error says which does not.
[[nodiscard]] Outcome<mock_kms::v1::Fault> complete_fault(const mock_kms::v1::Fault& fault);

/// A fault from a word (a preset, or a violation such as "key-id-empty") or from JSON; not completed.
[[nodiscard]] Outcome<mock_kms::v1::Fault> read_fault(const std::string& text);

}  // namespace kms::provider
