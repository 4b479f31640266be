// Login holds the user's secrets and keys. SshCredentials offers the keys to a server that asks, one after
// the other.
//
// main reads one Login from options, files and the environment. SshCredentials is used on the fetching
// thread, from libgit2's C frames: it throws nothing. Secrets are never printed.
#pragma once

#include <git2.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "builder/source/repository_url.h"
#include "common/error.h"

namespace kms::builder {

/// A password or a token. Copies share one immutable text, which the last copy overwrites. Nothing prints it.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text);

  [[nodiscard]] bool empty() const { return !text_ || text_->empty(); }

  /// For the server alone.
  [[nodiscard]] std::string reveal() const { return text_ ? *text_ : ""; }

 private:
  std::shared_ptr<std::string> text_;
};

struct Login {
  std::string user;                   ///< "": unknown
  Secret password;                    ///< or a token
  std::filesystem::path ssh_key;      ///< a private key; "": the agent's and those of ~/.ssh
  std::filesystem::path known_hosts;  ///< OpenSSH's format; "": ~/.ssh/known_hosts
  std::filesystem::path home;         ///< contains .ssh; "": there is none
  std::filesystem::path ca_file;      ///< PEM, instead of the system's; "": the system's
};

/// Checks that a private key can be used: it can be read, its format is OpenSSH's or PEM, and it needs no
/// passphrase, which nobody could type.
[[nodiscard]] Outcome<> check_key(const std::filesystem::path& file);

/// Fills empty members from HOME and from GIT_USERNAME, GIT_PASSWORD and GIT_TOKEN (other image builders read
/// these too). A token without a user gets the user "git": servers of tokens ignore it.
void complete_from_environment(Login& login);

class SshCredentials {
 public:
  explicit SshCredentials(Login login) : login_(std::move(login)) {}

  /// A new connection begins: everything may be offered again.
  void begin() { offers_ = 0; }

  /// For git_credential_acquire_cb: returns 0 and a credential, or GIT_EAUTH with the cause set in libgit2.
  int offer(git_credential** out, const char* user, unsigned allowed) noexcept;

 private:
  Login login_;
  unsigned offers_ = 0;
};

/// Makes libgit2 read the host keys of a chosen file.
///
/// libgit2 reads $HOME/.ssh/known_hosts only, whenever it connects. While this lives, HOME is a directory
/// with the chosen file. Made and destroyed while no other thread reads the environment.
class KnownHosts {
 public:
  /// Copies `file` below `scratch`. Throws Error.
  KnownHosts(const std::filesystem::path& file, const std::filesystem::path& scratch);
  KnownHosts(const KnownHosts&) = delete;
  KnownHosts& operator=(const KnownHosts&) = delete;
  ~KnownHosts();

 private:
  std::optional<std::string> home_before_;
};

}  // namespace kms::builder
