// RepositoryUrl is the place of a git repository, and the form of it that may be printed.
//
// The printed form never holds userinfo, a query or a fragment, since people put tokens there. Nothing here
// touches the network or the file system.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "common/error.h"

namespace kms::builder {

class RepositoryUrl {
 public:
  enum class Kind { local, http, https, git, ssh };

  /// Reads http, https, git, ssh and file URLs, scp's short form (user@host:path) and plain paths. Text with
  /// an @ after the host is refused: its login may have reserved characters, and then the password would be
  /// taken for a part of the path and printed. Errors quote nothing of a login.
  [[nodiscard]] static Outcome<RepositoryUrl> parse(std::string_view text);

  [[nodiscard]] Kind kind() const { return kind_; }

  /// For libgit2: with userinfo. For a local repository its path, decoded.
  [[nodiscard]] const std::string& secret_location() const { return location_; }

  /// For messages, logs and build-info.json.
  [[nodiscard]] const std::string& display() const { return display_; }

  /// The decoded path of an http, https, git or ssh URL, with its slash.
  [[nodiscard]] const std::string& path() const { return path_; }

  /// The user in the URL, "" if there is none.
  [[nodiscard]] const std::string& user() const { return user_; }

  /// The password in the URL, decoded, "" if there is none. For the server alone.
  [[nodiscard]] const std::string& password() const { return secrets_[2]; }

  /// `text` with everything replaced that display() leaves out. For messages of libraries.
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
  std::string path_;
  /// Userinfo, password as written, password decoded, query and fragment, user decoded; "" if absent.
  std::array<std::string, 5> secrets_;
};

}  // namespace kms::builder
