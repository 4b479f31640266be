#include "builder/source/diagnosis.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "builder/source/proxy.h"
#include "common/text/logins.h"

namespace kms::builder {
namespace {

struct KnownWords {
  std::string_view words;
  std::string_view next_step;
  bool transient;
};

constexpr auto network_hint = "check the network, a firewall and the proxy settings";
constexpr auto later = "the server is in trouble: try again later";
constexpr auto cut = "try again; check the network and a proxy";
constexpr auto not_git = "the server does not speak git's protocol there: is --repo the URL of a repository?";
constexpr auto proxy_login = "put the login into the proxy's URL, as USER:PASSWORD@ before the host";
constexpr auto damaged = "try again; if the error persists, ask the repository's owner to run `git fsck`";
constexpr auto no_ssh_key =
    "authorize the key on the server, or give another one; current servers refuse RSA keys "
    "from libssh2 before 1.11: use an Ed25519 key";

/// Parts of the messages of this program, of libgit2 (src/libgit2/transports/ssh.c), of git's own servers
/// ("access denied or repository not exported" is git-daemon's), of libssh2 and of the C library. The first
/// match counts.
constexpr std::array known{
    KnownWords{"No space left on device", "free some space, or give --build-dir or --into on a larger disk",
               false},
    KnownWords{"unexpected status: 407", proxy_login, false},
    KnownWords{"unexpected status: 403", "ask for permission to use the proxy, or add the host to no_proxy",
               false},
    KnownWords{"unexpected status: 5", "check the host in --repo, and the proxy: it cannot reach the server",
               true},
    KnownWords{"proxy returned unexpected status", "check the proxy, or add the host to no_proxy", false},
    KnownWords{"resolve address", "check the host's name in --repo, and this machine's DNS", true},
    KnownWords{"Connection refused", "check host and port in --repo, and that the server runs", true},
    KnownWords{"timed out", network_hint, true},
    KnownWords{"unreachable", network_hint, true},
    KnownWords{"said nothing for", "check the server and the network, or raise --fetch-timeout", true},
    KnownWords{"status code: 401", "give --user and --password-file", false},
    KnownWords{"status code: 403",
               "ask for read access to the repository, or give --user and --password-file", false},
    KnownWords{"status code: 404", "check the path in --repo; servers say this of private repositories too",
               false},
    KnownWords{"status code: 407", proxy_login, false},
    KnownWords{"no such repository", "check the path in --repo", false},
    KnownWords{"not exported", "check the path in --repo, and that the server exports the repository", false},
    KnownWords{"does not appear to be a git repository", "check the path in --repo", false},
    KnownWords{"status code: 408", later, true},
    KnownWords{"status code: 429", "the server has had too many requests: try again later", true},
    KnownWords{"status code: 5", later, true},
    KnownWords{"status code: ", "check --repo, and what lies between here and the server", false},
    KnownWords{"invalid content-type", not_git, false},
    KnownWords{"not git's protocol", not_git, false},
    KnownWords{"does not take the key of --ssh-key", no_ssh_key, false},
    KnownWords{"takes none of the keys", no_ssh_key, false},
    KnownWords{"error loading known_hosts", "check ~/.ssh/known_hosts, or the file of --known-hosts", false},
    KnownWords{"with agent", "give --ssh-key, or check the agent that SSH_AUTH_SOCK names", false},
    KnownWords{"passphrase", "load the key into ssh-agent, or give one without a passphrase", false},
    KnownWords{"private key", "give a private key in OpenSSH's or PEM format by --ssh-key", false},
    KnownWords{"exchange encryption keys",
               "use https, or allow an older algorithm on the server: libssh2 and the server share none",
               false},
    KnownWords{"ends early", cut, true},
    KnownWords{"connection was lost", cut, true},
    KnownWords{"Connection reset", cut, true},
    KnownWords{"Broken pipe", cut, true},
    KnownWords{"SSH channel", cut, true},
    KnownWords{"early EOF", cut, true},
    KnownWords{"SSH could not", cut, true},
    KnownWords{"Error waiting on socket", cut, true},
    KnownWords{"failed to start SSH session", "check that an ssh server answers at this host and port", true},
    KnownWords{"remote hung up", cut, true},
    KnownWords{"the server's pack", damaged, false},
    KnownWords{"fetch a pack", damaged, false},
    KnownWords{"object not found", damaged, false},
    KnownWords{"malformed id", not_git, false},
    KnownWords{"does not end", not_git, false},
    KnownWords{"answer is empty", "check the path in --repo, and the server's log", false},
    KnownWords{"the server says: ", "check the path and the login in --repo, or ask the server's owner",
               false}};

template <class Table>
const KnownWords* find(const Table& table, std::string_view text) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const KnownWords& entry) {
    return text.find(entry.words) != std::string_view::npos;
  });
  return found == table.end() ? nullptr : &*found;
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

/// The cause without secrets, with the place.
std::string shown_cause(const FetchRequest& request, const Error& error) {
  const RepositoryUrl& url = request.repository;
  std::string cause = without_secret(url.scrub(error.cause()), request.login.password.reveal());
  const std::string variable = proxy_variable(url);
  if (!variable.empty()) cause = without_login(std::move(cause), std::getenv(variable.c_str()));
  if (!cause.starts_with("cannot ")) cause = "cannot fetch from " + url.display() + ": " + cause;
  return cause;
}

}  // namespace

Diagnosis diagnose(int code, std::string_view text) {
  if (const KnownWords* entry = find(known, text)) return {std::string(entry->next_step), entry->transient};
  if (code == GIT_EAUTH) return {"give the right user in --repo, and --ssh-key", false};
  if (code == GIT_ECERTIFICATE) {
    return {"check the server's host key, and add the host to known_hosts", false};
  }
  return {"check --repo, the server and the network", false};
}

FetchError describe(const FetchRequest& request, const FetchError& error) {
  return {{shown_cause(request, error), error.next_step()}, error.transient()};
}

FetchError describe(const FetchRequest& request, const Error& error, int code) {
  const std::string cause = shown_cause(request, error);
  const Diagnosis diagnosis = diagnose(code, without_place(error.cause(), request.repository));
  return {{cause, error.next_step().empty() ? diagnosis.next_step : error.next_step()}, diagnosis.transient};
}

}  // namespace kms::builder
