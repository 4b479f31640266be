#include "builder/source/diagnosis.h"

#include <array>

#include "builder/source/proxy.h"

namespace kms::builder {
namespace {

struct KnownWords {
  std::string_view words;
  std::string_view next_step;
  bool transient;
};

constexpr auto network = "check the network, a firewall and the proxy settings";
constexpr auto later = "the server is in trouble: try again later";
constexpr auto cut = "try again; check the network and a proxy";

/// Parts of the messages of libgit2 (src/libgit2/transports, streams and util/net), of git's own servers
/// ("access denied or repository not exported" is git-daemon's), of libssh2 and of the C library. The first
/// match counts.
constexpr std::array<KnownWords, 30> known{{
    {"No space left on device", "free some space, or give --build-dir on a larger disk", false},
    {"resolve address", "check the host's name in --repo, and this machine's DNS", true},
    {"Connection refused", "check host and port in --repo, and that the server runs", true},
    {"timed out", network, true},
    {"unreachable", network, true},
    {"said nothing for", "check the server and the network, or raise --fetch-timeout", true},
    {"status code: 401", "give --user and --password-file", false},
    {"status code: 403", "ask for the right to read the repository, or give --user and --password-file",
     false},
    {"status code: 404", "check the path in --repo; servers say this of private repositories too", false},
    {"no such repository", "check the path in --repo", false},
    {"not exported", "check the path in --repo, and that the server exports the repository", false},
    {"does not appear to be a git repository", "check the path in --repo", false},
    {"status code: 408", later, true},
    {"status code: 429", "the server has had too many requests: try again later", true},
    {"status code: 5", later, true},
    {"status code: ", "check --repo, and what lies between here and the server", false},
    {"certificate",
     "give the certificate of the server's CA by --ca-file, the host's name as the certificate has it, and "
     "check its dates",
     false},
    {"ends early", cut, true},
    {"connection was lost", cut, true},
    {"Connection reset", cut, true},
    {"Broken pipe", cut, true},
    {"unexpected EOF", cut, true},
    {"stream ended at an unexpected time", cut, true},
    {"SSH channel", cut, true},
    {"early EOF", cut, true},
    {"syscall failure", cut, true},
    {"SSH could not", cut, true},
    {"Error waiting on socket", cut, true},
    {"failed to start SSH session", "check that an ssh server answers at this host and port", true},
    {"remote hung up", cut, true},
}};

/// `text` without a secret that a library quoted.
std::string without(std::string text, const Secret& secret) {
  const std::string hidden = secret.reveal();
  for (std::size_t at = 0; !hidden.empty() && (at = text.find(hidden, at)) != std::string::npos; at += 3) {
    text.replace(at, hidden.size(), "***");
  }
  return text;
}

/// `text` without the server's name and URL, which may contain any of the known words.
std::string without_place(std::string text, const RepositoryUrl& url) {
  const auto remove = [&](const std::string& words) {
    for (std::size_t at = 0; (at = text.find(words, at)) != std::string::npos;) text.erase(at, words.size());
  };
  remove(url.display());
  remove(" " + host_and_port(url.display(), "").host + ":");
  return text;
}

}  // namespace

Diagnosis diagnose(int code, std::string_view text, bool hung_up) {
  for (const KnownWords& entry : known) {
    if (text.find(entry.words) != std::string_view::npos)
      return {std::string(entry.next_step), entry.transient};
  }
  if (code == GIT_EAUTH) return {"give the right --user and --password-file, or --ssh-key", false};
  if (code == GIT_ECERTIFICATE) {
    return {"give the server's CA by --ca-file, or add the host to known_hosts", false};
  }
  // The texts of a lost connection differ with libgit2's TLS library, of which there are five.
  if (hung_up) return {cut, true};
  return {};
}

FetchError describe(const FetchRequest& request, const Error& error, int code, bool hung_up) {
  const RepositoryUrl& url = request.repository;
  std::string cause = without(url.scrub(error.cause()), request.login.password);
  cause = without_login(std::move(cause), proxy_of_environment(url));
  if (!cause.starts_with("cannot ")) cause = "cannot fetch from " + url.display() + ": " + cause;
  // Some of libgit2's TLS libraries only say "Generic error".
  if (code == GIT_ECERTIFICATE && url.kind() == RepositoryUrl::Kind::https &&
      cause.find("certificate") == std::string::npos) {
    cause += " (the server's certificate is refused)";
  }
  const Diagnosis diagnosis = diagnose(code, without_place(cause, url), hung_up);
  return {{cause, error.next_step().empty() ? diagnosis.next_step : error.next_step()}, diagnosis.transient};
}

}  // namespace kms::builder
