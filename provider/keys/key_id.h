// KeyId is the grammar of key ids: `<instance>/v<version>/<check>`, such as "default/v3/5f1c09ab".
//
// A value, safe from any thread. It holds no secret: the check value tells seeds apart and is derived apart
// from keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/error.h"

namespace kms::provider {

/// Which key of an instance; counted from 1.
using KeyVersion = std::uint32_t;

/// The version that a fault shows beside `version`: the next one, and the first after the last.
[[nodiscard]] constexpr KeyVersion another_version(KeyVersion version) {
  return version + 1 == 0 ? 1 : version + 1;
}

struct KeyId {
  std::string instance;
  KeyVersion version = 0;
  std::string check;  ///< 8 lower-case hexadecimal digits

  [[nodiscard]] std::string text() const;

  /// Reads exactly what text() writes; nothing for any other text.
  [[nodiscard]] static std::optional<KeyId> parse(std::string_view text);

  friend bool operator==(const KeyId&, const KeyId&) = default;
};

/// Why `name` cannot name an instance, or nothing where it can: 1..63 letters, digits, '.', '_' and '-', the
/// first a letter or digit.
[[nodiscard]] Outcome<> refuse_instance(std::string_view name);

}  // namespace kms::provider
