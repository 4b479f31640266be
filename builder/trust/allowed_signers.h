// AllowedSigners lists the keys whose signatures count, in OpenSSH's form (ssh-keygen(1), "ALLOWED SIGNERS").
//
// A value, immutable; safe from any thread. As in git, principals are reported and compared with nothing.
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
  /// `file` is the name for messages. One line that cannot be read refuses the whole file.
  [[nodiscard]] static Outcome<AllowedSigners> parse(std::string_view text, const std::string& file);

  /// The principals of a key (in SSH's binary form) that may sign for `name_space` at `time`, seconds since
  /// 1970. Authorities vouch for certificates, which are not supported, and never for their own key.
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

  static Outcome<Entry> read(std::string_view line, unsigned number);
  static Outcome<> read_option(std::string_view option, Entry& entry);
  Outcome<> check(const Entry& entry, std::string_view name_space, std::int64_t time) const;

  std::string file_;
  std::vector<Entry> entries_;
};

/// True if `text` matches one of the patterns ("*" and "?", between commas) and none that begins with "!"
/// (ssh_config(5), "PATTERNS").
[[nodiscard]] bool matches_patterns(std::string_view text, std::string_view patterns);

/// Seconds since 1970 of "20240131", "202401311200" or "20240131120000": local time, or UTC with a "Z" at the
/// end. Empty if it is no such time.
[[nodiscard]] std::optional<std::int64_t> signing_time(std::string_view text);

}  // namespace kms::builder
