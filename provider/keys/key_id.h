// KeyIdFormat writes key ids and reads them back. The format of --key-id-format is a text with `{instance}`,
// `{version}` and `{check}`; the default gives "default/v3/5f1c09ab".
//
// Immutable. A key id holds no secret: the check value distinguishes seeds and is derived separately from the
// key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace kms::provider {

/// Numbers the keys of an instance, from 1.
using KeyVersion = std::uint32_t;

/// The version that a fault shows beside `version`: the next one, and 1 after the last.
[[nodiscard]] constexpr KeyVersion another_version(KeyVersion version) {
  return version + 1 == 0 ? 1 : version + 1;
}

/// The parts of a key id. A part that the format leaves out is empty.
struct KeyId {
  std::string instance;
  KeyVersion version = 0;
  std::string check;  ///< 8 lower-case hexadecimal digits

  friend bool operator==(const KeyId&, const KeyId&) = default;
};

/// Accepts 1 to 63 letters, digits, '.', '_' and '-', the first a letter or digit.
[[nodiscard]] Outcome<> check_instance(std::string_view name);

class KeyIdFormat {
 public:
  static constexpr auto default_text = "{instance}/v{version}/{check}";

  KeyIdFormat() : KeyIdFormat(*parse(default_text)) {}

  /// Takes a text with `{version}`, each of the three at most once, whose ids have at most 1024 bytes of
  /// UTF-8 (contract rule 13).
  [[nodiscard]] static Outcome<KeyIdFormat> parse(std::string_view text);

  [[nodiscard]] const std::string& text() const { return text_; }

  [[nodiscard]] std::string write(const KeyId& id) const;

  /// Reads exactly what write() wrote; empty for any other text. With an `instance` only its ids. Without
  /// one, a format such as "{instance}{version}" reads the first of several readings.
  [[nodiscard]] std::optional<KeyId> read(std::string_view text, const std::string* instance = nullptr) const;

 private:
  enum class Part { literal, instance, version, check };
  struct Piece {
    Part part;
    std::string literal;
  };

  explicit KeyIdFormat(std::string_view text) : text_(text) {}
  bool read_from(std::size_t piece, std::string_view rest, const std::string* instance, KeyId& id) const;

  std::string text_;
  std::vector<Piece> pieces_;
};

}  // namespace kms::provider
