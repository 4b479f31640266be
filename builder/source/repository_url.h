// RepositoryUrl is where a git repository is, and how that may be shown.
//
// A value; pure; safe from any thread. What it prints never holds userinfo, a query or a fragment, since
// people put tokens there. It never touches the network or the file system.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "common/error.h"

namespace kms::builder {

class RepositoryUrl {
 public:
  enum class Kind { local, http, https, git, ssh };

  /// Reads http, https, git, ssh and file URLs, scp's short form (user@host:path) and plain paths.
  [[nodiscard]] static Outcome<RepositoryUrl> parse(std::string_view text);

  [[nodiscard]] Kind kind() const { return kind_; }

  /// What libgit2 is given: with userinfo; for a local repository its path, percent signs decoded.
  [[nodiscard]] const std::string& secret_location() const { return location_; }

  /// For people, logs and build-info.json.
  [[nodiscard]] const std::string& display() const { return display_; }

  /// The user in the URL, "" where there is none.
  [[nodiscard]] const std::string& user() const { return user_; }

  /// The password in the URL, decoded, "" where there is none. For the server alone.
  [[nodiscard]] const std::string& password() const { return secrets_[2]; }

  /// `text` with everything of the URL replaced that display() leaves out. For messages of libraries.
  [[nodiscard]] std::string scrub(std::string text) const;

 private:
  RepositoryUrl(Kind kind, std::string location, std::string display)
      : kind_(kind), location_(std::move(location)), display_(std::move(display)) {}

  static Outcome<RepositoryUrl> parse_url(Kind kind, std::string_view text, std::size_t scheme_length);
  static Outcome<RepositoryUrl> parse_file_url(std::string_view text);

  Kind kind_;
  std::string location_;
  std::string display_;
  std::string user_;
  std::array<std::string, 4>
      secrets_;  ///< userinfo, password as written, decoded, query and fragment; "" where absent
};

}  // namespace kms::builder
