#include "builder/sandbox/isolation.h"

#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <system_error>

#include "common/log/log.h"
#include "common/process/run.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto try_timeout = 10s;
constexpr int max_link_depth = 2;  ///< lib/go-1.N/pkg/include

/// Read by the compilers of every Linux distribution. /etc only as far as it locates programs and libraries.
const std::vector<std::string> system_paths{"/usr",
                                            "/bin",
                                            "/sbin",
                                            "/lib",
                                            "/lib32",
                                            "/lib64",
                                            "/libx32",
                                            "/etc/alternatives",
                                            "/etc/ld.so.cache",
                                            "/etc/ld.so.conf",
                                            "/etc/ld.so.conf.d",
                                            "/etc/ccache.conf"};

/// Read by programs that use https.
const std::vector<std::string> network_paths{"/etc/resolv.conf", "/etc/hosts",         "/etc/nsswitch.conf",
                                             "/etc/ssl/certs",   "/etc/pki/tls/certs", "/etc/pki/ca-trust"};

bool is_system_path(const std::string& path) {
  return std::any_of(system_paths.begin(), system_paths.end(), [&](const std::string& system) {
    return path == system || path.starts_with(system + "/");
  });
}

fs::path real_path(const fs::path& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  return error ? path : real;
}

/// Adds the path and, if it contains links, the real path.
void add_readable(const fs::path& path, std::vector<std::string>& readable) {
  readable.push_back(path.string());
  if (const fs::path real = real_path(path); real != path) readable.push_back(real.string());
}

/// True for a home, a directory above one, and ~/.local: too much to show for a single program.
bool holds_a_home(const fs::path& directory) {
  const char* variable = std::getenv("HOME");
  const passwd* entry = ::getpwuid(::geteuid());
  const fs::path common = real_path("/home");
  std::vector<fs::path> homes{"/root", common / "somebody"};
  if (variable != nullptr && *variable == '/') homes.emplace_back(variable);
  if (entry != nullptr && entry->pw_dir != nullptr) homes.emplace_back(entry->pw_dir);
  if (directory.parent_path() == common || directory.filename() == ".local") return true;
  return std::any_of(homes.begin(), homes.end(), [&](const fs::path& home) {
    return directory == "/" || (real_path(home).string() + "/").starts_with(directory.string() + "/");
  });
}

/// The directory of a tool outside of the system's directories, with the libraries beside its bin.
fs::path installation_of(const fs::path& tool) {
  const fs::path bin = tool.parent_path();
  if (bin.filename() == "bin" && !holds_a_home(bin.parent_path())) return bin.parent_path();
  return holds_a_home(bin) ? tool : bin;
}

bool is_readable(const std::string& path, const std::vector<std::string>& readable) {
  return is_system_path(path) || std::any_of(readable.begin(), readable.end(), [&](const std::string& shown) {
           return path == shown || path.starts_with(shown + "/");
         });
}

/// Adds the targets of links near the top of an installation that lead out of it: distributions link
/// lib/go-1.N/src to share/go-1.N/src.
void add_link_targets(const fs::path& installation, std::vector<std::string>& readable) {
  std::error_code error;
  const auto unreadable = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator entry(installation, unreadable, error);
       !error && entry != fs::end(entry); entry.increment(error)) {
    if (entry.depth() >= max_link_depth) entry.disable_recursion_pending();
    std::error_code broken;
    if (!entry->is_symlink(broken)) continue;
    const fs::path target = fs::canonical(entry->path(), broken);
    if (!broken && !is_readable(target, readable) && !holds_a_home(target))
      readable.push_back(target.string());
  }
}

/// Adds the directories of PATH, and the tools with their installations.
void add_tools(const std::vector<std::string>& tools, std::vector<std::string>& readable) {
  const char* path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (directory.starts_with('/') && !is_system_path(directory) && !holds_a_home(real_path(directory)))
      add_readable(directory, readable);
  }
  for (const std::string& tool : tools) {
    std::error_code error;
    const fs::path real = fs::canonical(tool, error);
    if (error || is_system_path(real)) continue;
    const fs::path installation = installation_of(real);
    readable.push_back(installation.string());
    if (fs::is_directory(installation, error)) add_link_targets(installation, readable);
  }
}

/// The paths and limits that every candidate has.
Sandbox base_sandbox(const IsolationRequest& request, const std::vector<std::string>& tools,
                     const ToolDirectories& directories) {
  Sandbox base;
  base.limits = request.limits;
  base.readable = system_paths;
  for (const std::string& path : request.readable) add_readable(path, base.readable);
  add_tools(tools, base.readable);
  for (const auto& list : {directories.work, directories.kept}) {
    for (const fs::path& directory : list) base.writable.push_back(directory.string());
  }
  return base;
}

/// The strictest first. A normal container denies namespaces to root but lets it become another user; an
/// unprivileged user namespace does the opposite.
std::vector<Sandbox> candidates(const Sandbox& base) {
  std::vector<Sandbox> sandboxes;
  const auto add = [&](uid_t user, bool user_namespace, bool files, bool others) {
    Sandbox sandbox = base;
    sandbox.user = user;
    sandbox.user_namespace = user_namespace;
    sandbox.files = files;
    sandbox.processes = sandbox.network = others;
    sandboxes.push_back(std::move(sandbox));
  };
  const bool root = ::geteuid() == 0;
  const uid_t user = root ? compiling_user : 0;
  for (const bool files : {true, false}) {
    if (root) add(user, false, files, true);
    add(user, true, files, true);
  }
  if (root) {
    add(0, false, true, true);
    add(user, false, false, false);
    add(0, true, false, true);  // without any capability
  }
  add(0, false, false, false);
  return sandboxes;
}

/// Enters the sandbox in a new process, to learn if that is allowed here.
Outcome<> try_to_enter(const Sandbox& sandbox, const Interruption& interruption) {
  std::string reason;
  const process::RunEnd end =
      process::run({sandbox_command(sandbox, {}), {}, {}, "/", true}, {try_timeout, 1s, interruption.fd()},
                   [&](std::string_view line) { reason = line; });
  interruption.check();
  const auto* status = std::get_if<process::ExitStatus>(&end);
  if (status != nullptr && status->success()) return {};
  if (status == nullptr) return Error("the try did not end");
  return Error(reason.empty() ? "the try " + status->text() : reason);
}

std::vector<std::string> measures_of(const Sandbox& sandbox) {
  const bool unprivileged = sandbox.user != 0 || ::geteuid() != 0;
  std::vector<std::string> names;
  if (unprivileged) names.emplace_back("user");
  if (sandbox.files) names.emplace_back("files");
  if (sandbox.network) names.emplace_back("network");
  if (sandbox.processes) names.emplace_back("processes");
  if (unprivileged) names.emplace_back("limits");  // the number of processes does not limit root
  return names;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

/// Changes the owner of a link itself, not of its target.
void give(const fs::path& path, uid_t user) {
  if (::lchown(path.c_str(), user, user) < 0) throw_errno("give " + path.string() + " to the compiling user");
}

void give(const ToolDirectories& directories, uid_t user) {
  for (const fs::path& directory : directories.kept) give(directory, user);
  for (const fs::path& directory : directories.work) {
    give(directory, user);
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory))
      give(entry.path(), user);
  }
}

/// Logs the restrictions in force. Throws Error if more are required.
void report(const std::vector<std::string>& in_force, const std::string& why, bool required) {
  std::vector<std::string> lacking;
  for (const char* name : {"user", "files", "network", "processes", "limits"}) {
    if (std::find(in_force.begin(), in_force.end(), name) == in_force.end()) lacking.emplace_back(name);
  }
  if (lacking.empty()) {
    log::info("the compiler is isolated", {{"measures", listed(in_force)}});
    return;
  }
  if (required)
    throw Error("cannot isolate the compiler from " + listed(lacking) + ": " + why,
                "run where namespaces are allowed (CAP_SYS_ADMIN, or user namespaces), or leave "
                "--require-isolation out");
  log::warning("the compiler is not fully isolated",
               {{"measures", listed(in_force)}, {"lacking", listed(lacking)}, {"why", why}});
}

/// True if other users can make files and run programs in the directory.
bool can_be_compiled_in(const fs::path& directory) {
  struct statvfs status {};
  return directory.is_absolute() && obstacle_above(directory).empty() &&
         ::access(directory.c_str(), W_OK) == 0 && ::statvfs(directory.c_str(), &status) == 0 &&
         (status.f_flag & ST_NOEXEC) == 0;
}

}  // namespace

fs::path obstacle_above(const fs::path& path) {
  fs::path above;
  for (const fs::path& name : path) {
    above /= name;
    struct stat status {};
    if (::stat(above.c_str(), &status) < 0) return "";
    if ((status.st_mode & S_IXOTH) == 0 && status.st_uid != compiling_user) return above;
  }
  return "";
}

fs::path reachable_directory(const IsolationRequest& request, const fs::path& build_dir,
                             const Interruption& interruption) {
  const fs::path obstacle = obstacle_above(build_dir);
  if (::geteuid() != 0 || !request.wanted || obstacle.empty()) return "";
  Sandbox base;
  base.readable = system_paths;
  for (const Sandbox& sandbox : candidates(base)) {
    if (sandbox.files && sandbox.user != 0 && try_to_enter(sandbox, interruption)) return "";
  }
  const char* temporary = std::getenv("TMPDIR");
  for (const fs::path& directory :
       {fs::path(temporary == nullptr ? "" : temporary), fs::path("/var/tmp"), fs::path("/tmp")}) {
    if (!can_be_compiled_in(directory)) continue;
    log::info("compiling in another directory",
              {{"directory", directory.string()}, {"obstacle", obstacle.string()}});
    return directory;
  }
  return "";
}

Isolation Isolation::establish(const IsolationRequest& request, const std::vector<std::string>& tools,
                               const ToolDirectories& directories, const Interruption& interruption) {
  Isolation isolation;
  if (!request.wanted) {
    log::warning("the compiler is not isolated", {{"why", "--isolation off"}});
    return isolation;
  }
  const Sandbox base = base_sandbox(request, tools, directories);
  const uid_t self = ::geteuid();
  std::string why;
  std::string last;
  uid_t owner = self;
  for (const Sandbox& sandbox : candidates(base)) {
    Outcome<> entered;
    try {
      const uid_t wanted = sandbox.user == 0 ? self : sandbox.user;
      if (wanted != owner) give(directories, wanted);
      owner = wanted;
      entered = try_to_enter(sandbox, interruption);
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& error) {
      entered = error;
    }
    if (entered) {
      isolation.on_ = true;
      isolation.sandbox_ = sandbox;
      isolation.in_force_ = measures_of(sandbox);
      if (!last.empty() && last != why) why += ", and " + last;
      report(isolation.in_force_, why, request.required);
      return isolation;
    }
    log::debug("isolation denied", {{"why", entered.error().cause()}});
    if (why.empty()) why = entered.error().cause();
    last = entered.error().cause();
  }
  throw Error("cannot start a compiler: " + why, "give --isolation off");
}

std::vector<std::string> Isolation::command(const std::vector<std::string>& command, bool network) const {
  Sandbox sandbox = sandbox_;
  sandbox.open = !on_;
  if (network) {
    sandbox.network = false;
    sandbox.readable.insert(sandbox.readable.end(), network_paths.begin(), network_paths.end());
  }
  return sandbox_command(sandbox, command);
}

std::vector<std::string> Isolation::smoke_test(const std::vector<std::string>& command,
                                               const fs::path& program) const {
  if (!on_) return command;
  Sandbox sandbox = sandbox_;
  sandbox.readable.push_back(program.string());
  sandbox.writable.clear();
  sandbox.program = program.string();
  return sandbox_command(sandbox, command);
}

}  // namespace kms::builder
