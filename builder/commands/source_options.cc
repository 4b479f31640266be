#include "builder/commands/source_options.h"

#include <cstring>

#include "builder/commands/option_file.h"
#include "builder/git/source_path.h"
#include "builder/source/local.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_signers_file = std::size_t{1024} * 1024;
constexpr std::size_t max_password = std::size_t{64} * 1024;
constexpr auto packaged_repository = "/usr/share/mock-kms-plugin/source.git";

template <class T>
T take(Outcome<T> outcome) {
  if (!outcome) throw Error(outcome.error());
  return *std::move(outcome);
}

std::string default_repository() {
  const std::string enclosing = enclosing_repository(fs::read_symlink("/proc/self/exe").parent_path());
  return enclosing.empty() ? packaged_repository : enclosing;
}

/// A full id in lower case, "" if none is given.
std::string read_pin(const std::string& text) {
  if (text.empty()) return "";
  const RefName id = take(RefName::parse(text));
  if (!id.is_commit_id())
    throw Error("--commit: '" + text + "' is not a commit id", "give all of its 40 digits");
  return id.text();
}

/// Null if no file is given.
std::shared_ptr<const AllowedSigners> read_signers(const std::string& file) {
  if (file.empty()) return nullptr;
  const std::string text = read_option_file("--allowed-signers", file, max_signers_file, Amount::all);
  if (text.size() > max_signers_file)
    throw Error("cannot use " + file + ": it is longer than 1 MiB",
                "give --allowed-signers a file with the signers of this repository alone");
  return std::make_shared<const AllowedSigners>(take(AllowedSigners::parse(text, file)));
}

/// The first line of a file, without its end.
Secret read_secret(const std::string& file) {
  std::string text = read_option_file("--password-file", file, max_password, Amount::first_line);
  std::string line = text.substr(0, text.find('\n'));
  ::explicit_bzero(text.data(), text.size());
  if (line.size() > max_password)
    throw Error("cannot use " + file + ": its first line is longer than 64 KiB",
                "write only the password or the token into it");
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  if (line.empty())
    throw Error("cannot use " + file + ": its first line is empty",
                "write the password or the token into its first line");
  return Secret(std::move(line));
}

/// CLI11's own check would print the whole range of numbers.
CLI::Validator at_least_one() {
  return {[](const std::string& text) -> std::string {
            const bool is_zero = !text.empty() && text.find_first_not_of('0') == std::string::npos;
            return is_zero ? "'" + text + "' is too small; the minimum is 1" : "";
          },
          ""};
}

void add_trust_options(CLI::App& command, SourceOptions& options) {
  command.add_option("--commit", options.commit, "The only commit id that --ref may lead to");
  command.add_option("--allowed-signers", options.allowed_signers,
                     "OpenSSH allowed-signers file; one of its keys must have signed the commit or the tag");
  command.add_option("--user", options.user, "User for http and https (default: the URL's, $GIT_USERNAME)");
  command.add_option(
      "--password-file", options.password_file,
      "File with a password or token in its first line (default: the URL's, $GIT_PASSWORD, $GIT_TOKEN)");
  command.add_option("--ssh-key", options.ssh_key, "Private key for ssh (default: the agent's, then ~/.ssh)");
  command.add_option("--known-hosts", options.known_hosts, "Host keys for ssh (default: ~/.ssh/known_hosts)");
  command.add_option("--ca-file", options.ca_file,
                     "PEM certificates to trust for https, instead of the system's");
  command
      .add_option("--max-bytes", options.limits.bytes, "Maximum of bytes received, and of bytes in all files")
      ->check(at_least_one())
      ->capture_default_str();
  command
      .add_option("--max-files", options.limits.files, "Maximum of files and directories that are written")
      ->check(at_least_one())
      ->capture_default_str();
}

Login read_login(const SourceOptions& options) {
  require_regular_file("--ssh-key", options.ssh_key);
  if (!options.ssh_key.empty()) {
    const Outcome<> usable = check_key(options.ssh_key);
    if (!usable) throw usable.error().within("cannot use " + options.ssh_key);
  }
  require_regular_file("--known-hosts", options.known_hosts);
  require_regular_file("--ca-file", options.ca_file);
  Login login;
  login.user = options.user;
  login.ssh_key = options.ssh_key;
  login.known_hosts = options.known_hosts;
  login.ca_file = options.ca_file;
  if (!options.password_file.empty()) login.password = read_secret(options.password_file);
  complete_from_environment(login);
  return login;
}

}  // namespace

void add_source_options(CLI::App& command, SourceOptions& options, const std::string& path_help) {
  command.add_option("--repo", options.repository,
                     "URL or path of the git repository (default: the one that contains this program, else " +
                         std::string(packaged_repository) + ")");
  command.add_option("--ref", options.ref, "Branch, tag or full commit id")->capture_default_str();
  command.add_option("--path", options.paths, path_help)->delimiter(',')->capture_default_str();
  add_duration(command, "--fetch-timeout", options.fetch_timeout, "How long a server may send nothing",
               std::chrono::milliseconds(1));
  command
      .add_option("--fetch-retries", options.retry.retries,
                  "Further tries after a transient failure of the network or the server")
      ->check(CLI::Range(0U, 1000U))
      ->capture_default_str();
  add_duration(command, "--fetch-deadline", options.retry.deadline, "How long all tries together may take",
               std::chrono::milliseconds(1));
  add_trust_options(command, options);
}

fs::path absolute_path(const std::string& option, const std::string& path) {
  if (path.empty()) throw Error(option + ": the path is empty", "give a path");
  return fs::absolute(path).lexically_normal();
}

FetchRequest read_source_options(const SourceOptions& options) {
  std::vector<std::string> paths;
  for (const std::string& path : options.paths) paths.push_back(take(source_path(path)));
  return {take(RepositoryUrl::parse(options.repository.empty() ? default_repository() : options.repository)),
          take(RefName::parse(options.ref)),
          "",
          std::move(paths),
          options.fetch_timeout,
          read_login(options),
          options.limits,
          read_pin(options.commit),
          options.retry,
          read_signers(options.allowed_signers)};
}

}  // namespace kms::builder
