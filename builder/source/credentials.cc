#include "builder/source/credentials.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "builder/git/libgit2.h"

namespace kms::builder {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Secret::Secret(std::string text)
    : text_(new std::string(std::move(text)), [](std::string* held) {
        ::explicit_bzero(held->data(), held->size());
        delete held;
      }) {}

Secret read_secret(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string line;
  if (!stream) throw_errno("read " + file.string());
  std::getline(stream, line);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  if (line.empty()) throw Error("cannot use " + file.string() + ": its first line is empty");
  return Secret(std::move(line));
}

void complete_from_environment(Login& login) {
  if (login.home.empty()) login.home = variable("HOME");
  if (login.user.empty()) login.user = variable("GIT_USERNAME");
  if (login.password.empty()) login.password = Secret(variable("GIT_PASSWORD"));
  if (login.password.empty()) login.password = Secret(variable("GIT_TOKEN"));
  if (login.user.empty() && !login.password.empty()) login.user = "git";
}

Credentials::Credentials(const RepositoryUrl& url, Login login)
    : ssh_(url.kind() == RepositoryUrl::Kind::ssh), login_(std::move(login)) {
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

KnownHosts::KnownHosts(const std::filesystem::path& file, const std::filesystem::path& scratch) {
  namespace fs = std::filesystem;
  const fs::path home = scratch / "home";
  std::error_code error;
  fs::create_directories(home / ".ssh", error);
  if (!error) fs::copy_file(file, home / ".ssh" / "known_hosts", fs::copy_options::overwrite_existing, error);
  if (error) throw Error("cannot read " + file.string() + ": " + error.message(), "check --known-hosts");
  if (const char* old = std::getenv("HOME"); old != nullptr) home_before_ = old;
  ::setenv("HOME", home.c_str(), 1);
}

KnownHosts::~KnownHosts() { home_before_ ? ::setenv("HOME", home_before_->c_str(), 1) : ::unsetenv("HOME"); }

}  // namespace kms::builder
