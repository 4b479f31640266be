// Login is who the builder is to a server, and by what it knows the server.
//
// A value, read once by main from options, files and the environment.
#pragma once

#include <filesystem>
#include <string>

#include "builder/source/secret.h"

namespace kms::builder {

struct Login {
  std::string user;                   ///< "": none is known
  Secret password;                    ///< or a token
  std::filesystem::path ssh_key;      ///< a private key; "": the agent's and those of ~/.ssh
  std::filesystem::path known_hosts;  ///< OpenSSH's; "": ~/.ssh/known_hosts
  std::filesystem::path home;         ///< where ~/.ssh is; "": nowhere
  std::filesystem::path ca_file;      ///< PEM: see git::trust_authorities(); "": the system's
};

/// The first line of a file, without its end. Throws Error where it cannot be read or is empty.
[[nodiscard]] Secret read_secret(const std::filesystem::path& file);

/// Fills what is empty from HOME and from GIT_USERNAME, GIT_PASSWORD and GIT_TOKEN (names that other image
/// builders use, too); a token alone gets the user "git", which servers of tokens do not look at.
void complete_from_environment(Login& login);

}  // namespace kms::builder
