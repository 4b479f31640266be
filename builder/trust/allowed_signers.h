// AllowedSigners is the list of keys whose signatures count, in OpenSSH's form (ssh-keygen(1), "ALLOWED
// SIGNERS").
//
// A value, immutable; safe from any thread. Principals are reported and not compared with anything, as in
// git: whose key it is, is what the file says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace kms::builder {

class AllowedSigners {
 public:
  /// `file` is its name for messages. A line that cannot be read refuses the whole file, by its number.
  [[nodiscard]] static Outcome<AllowedSigners> parse(std::string_view text, const std::string& file);

  /// The principals of a key (in SSH's binary form) that may sign for `name_space` at `time` (seconds since
  /// 1970), or why it may not. Authorities vouch for certificates, which are not supported, and never for
  /// their own key.
  [[nodiscard]] Outcome<std::string> find(const std::string& key, std::string_view name_space,
                                          std::int64_t time) const;

 private:
  struct Entry {
    unsigned line = 0;
    std::string principals;
    std::string key;
    bool authority = false;
    std::optional<std::string> namespaces{};  ///< a list of patterns
    std::optional<std::int64_t> valid_after{};
    std::optional<std::int64_t> valid_before{};
  };

  [[nodiscard]] static std::string read(std::string_view line, Entry& entry);
  [[nodiscard]] static std::string read_option(std::string_view option, Entry& entry);
  [[nodiscard]] std::string why_not(const Entry& entry, std::string_view name_space, std::int64_t time) const;

  std::string file_;
  std::vector<Entry> entries_;
};

/// Whether `text` matches one of the patterns ("*" and "?", between commas) and none that "!" stands before
/// (ssh_config(5), "PATTERNS"). Pure.
[[nodiscard]] bool matches_patterns(std::string_view text, std::string_view patterns);

/// Seconds since 1970 of "20240131", "202401311200" or "20240131120000", local or, with a "Z" behind, in UTC;
/// nothing where it is none.
[[nodiscard]] std::optional<std::int64_t> signing_time(std::string_view text);

}  // namespace kms::builder
