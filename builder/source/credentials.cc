#include "builder/source/credentials.h"

#include <absl/strings/escaping.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "builder/git/libgit2.h"
#include "builder/trust/ssh.h"
#include "common/crypto/openssl.h"
#include "common/io/fd.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Asks an agent for its keys (RFC 9987, section 3.5). On false, errno says why.
bool lists_keys(int agent) {
  constexpr int max_wait_ms = 2000;
  constexpr std::string_view request("\0\0\0\1\13", 5);
  if (::send(agent, request.data(), request.size(), MSG_NOSIGNAL) < 0) return false;
  pollfd answer{agent, POLLIN, 0};
  char byte = 0;
  const int ready = ::poll(&answer, 1, max_wait_ms);
  if (ready > 0 && ::recv(agent, &byte, 1, 0) == 1) return true;
  errno = ready == 0 ? ETIMEDOUT : ECONNRESET;
  return false;
}

/// An agent that is gone or hangs would end the fetch, though a key of ~/.ssh may be good.
bool agent_answers() {
  const std::string path = variable("SSH_AUTH_SOCK");
  if (path.empty()) return false;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (path.size() < sizeof address.sun_path) {
    path.copy(address.sun_path, path.size());
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        lists_keys(fd.get()))
      return true;
  } else {
    errno = ENAMETOOLONG;
  }
  log::warning("no ssh agent answers", {{"SSH_AUTH_SOCK", path}, {"cause", errno_text(errno)}});
  return false;
}

/// The bytes between the first and the last line; empty if they are no base64.
std::string decoded_body(const std::string& pem) {
  std::string body = pem.substr(std::min(pem.find('\n'), pem.size()));
  body.erase(std::min(body.find("-----END"), body.size()));
  std::string bytes;
  if (!absl::Base64Unescape(body, &bytes)) bytes.clear();  // it skips white space
  return bytes;
}

const Error& needs_passphrase() {
  static const Error error("the key needs a passphrase",
                           "load it into ssh-agent, or give one without a passphrase");
  return error;
}

const Error& no_key() {
  static const Error error("it is not a private key, or it is damaged",
                           "give one in OpenSSH's or PEM format");
  return error;
}

/// OpenSSH's PROTOCOL.key.
Outcome<> check_openssh_key(const std::string& pem) {
  const std::string bytes = decoded_body(pem);
  SshWire wire(bytes);
  constexpr std::string_view magic("openssh-key-v1\0", 15);
  if (wire.take(magic.size()) != magic) return no_key();
  const auto cipher = wire.string();
  if (cipher && *cipher != "none") return needs_passphrase();
  wire.string();                 // the key derivation function
  wire.string();                 // its options
  wire.uint32();                 // the number of keys
  wire.string();                 // the public key
  if (wire.string()) return {};  // the private key, if all before it is there too
  return no_key();
}

}  // namespace

Outcome<> check_key(const std::filesystem::path& file) {
  constexpr std::size_t max_size = 65536;
  std::ifstream stream(file, std::ios::binary);
  std::string pem(max_size, '\0');
  errno = 0;
  stream.read(pem.data(), static_cast<std::streamsize>(pem.size()));
  if (!stream.is_open()) return Error(errno_text(errno), "give this user the right to read it");
  pem.resize(static_cast<std::size_t>(stream.gcount()));
  if (!pem.starts_with("-----BEGIN ")) return no_key();
  if (pem.starts_with("-----BEGIN OPENSSH ")) return check_openssh_key(pem);
  if (pem.find("ENCRYPTED") != std::string::npos) return needs_passphrase();
  const std::unique_ptr<BIO, Free<BIO_free_all>> input(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const openssl::Key key(PEM_read_bio_PrivateKey(input.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return key ? Outcome<>() : Outcome<>(no_key());
}

Secret::Secret(std::string text)
    : text_(new std::string(std::move(text)), [](std::string* held) {
        ::explicit_bzero(held->data(), held->size());
        delete held;
      }) {}

void complete_from_environment(Login& login) {
  if (login.home.empty()) login.home = variable("HOME");
  if (login.user.empty()) login.user = variable("GIT_USERNAME");
  if (login.password.empty()) login.password = Secret(variable("GIT_PASSWORD"));
  if (login.password.empty()) login.password = Secret(variable("GIT_TOKEN"));
  if (login.user.empty() && !login.password.empty()) login.user = "git";
}

int SshCredentials::offer(git_credential** out, const char* user, unsigned allowed) noexcept {
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
    if (offer == 0 && agent_answers()) return git_credential_ssh_key_from_agent(out, name);
    if (offer == 0 || login_.home.empty()) continue;
    const auto key = login_.home / ".ssh" / key_files[offer - 1];
    std::error_code ignored;
    if (!std::filesystem::exists(key, ignored)) continue;
    // libgit2 ends the fetch at a key that it cannot use, though the next one may be good.
    const Outcome<> usable = check_key(key);
    if (usable) return git_credential_ssh_key_new(out, name, nullptr, key.c_str(), "");
    log::warning("leaving out an ssh key", {{"file", key.string()}, {"cause", usable.error().cause()}});
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
