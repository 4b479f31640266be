#include "builder/source/credentials.h"

#include <array>
#include <cstdlib>
#include <filesystem>

#include "builder/git/libgit2.h"

namespace kms::builder {

Credentials::Credentials(const FetchRequest& request)
    : ssh_(request.repository.kind() == RepositoryUrl::Kind::ssh), login_(request.login) {
  const RepositoryUrl& url = request.repository;
  if (!url.user().empty()) login_.user = url.user();
  if (!url.password().empty()) login_.password = Secret(url.password());
}

int Credentials::offer(git_credential** out, const char* user, unsigned allowed) noexcept {
  return ssh_ ? offer_ssh(out, user, allowed) : offer_http(out);
}

int Credentials::offer_http(git_credential** out) {
  if (login_.user.empty()) {
    git_error_set_str(GIT_ERROR_HTTP, "the server asks for a user and a password, and none is given");
    return GIT_EAUTH;
  }
  if (offers_++ > 0) {
    git_error_set_str(GIT_ERROR_HTTP, "the server refuses the user and password");
    return GIT_EAUTH;
  }
  return git_credential_userpass_plaintext_new(out, login_.user.c_str(), login_.password.reveal().c_str());
}

int Credentials::offer_ssh(git_credential** out, const char* user, unsigned allowed) {
  const char* name = user == nullptr || *user == '\0' ? "git" : user;
  if ((allowed & GIT_CREDENTIAL_USERNAME) != 0) return git_credential_username_new(out, name);
  if (!login_.ssh_key.empty()) {
    if (offers_++ == 0) return git_credential_ssh_key_new(out, name, nullptr, login_.ssh_key.c_str(), "");
    git_error_set_str(GIT_ERROR_SSH, "the server does not take the key of --ssh-key");
    return GIT_EAUTH;
  }
  constexpr std::array<const char*, 3> key_files{"id_ed25519", "id_ecdsa", "id_rsa"};
  while (offers_ <= key_files.size()) {
    const unsigned offer = offers_++;
    if (offer == 0 && std::getenv("SSH_AUTH_SOCK") != nullptr)
      return git_credential_ssh_key_from_agent(out, name);
    if (offer == 0 || login_.home.empty()) continue;
    const auto key = login_.home / ".ssh" / key_files[offer - 1];
    std::error_code ignored;
    if (std::filesystem::exists(key, ignored)) {
      return git_credential_ssh_key_new(out, name, nullptr, key.c_str(), "");
    }
  }
  git_error_set_str(GIT_ERROR_SSH, "the server takes none of the keys of the agent and of ~/.ssh");
  return GIT_EAUTH;
}

}  // namespace kms::builder
