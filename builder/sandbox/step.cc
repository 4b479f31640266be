#include "builder/sandbox/step.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "common/error.h"
#include "common/io/fd.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view step_word = "sandbox-step";
constexpr std::string_view end_word = "--";

std::uint64_t read_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error("cannot read a sandbox: '" + std::string(text) + "' is not a number");
  return value;
}

struct Flag {
  std::string_view name;
  bool& value;
};

struct NumberField {
  std::string_view name;
  std::uint64_t& value;
};

std::array<Flag, 5> flags_of(Sandbox& sandbox) {
  return {{{"open", sandbox.open},
           {"user-namespace", sandbox.user_namespace},
           {"files", sandbox.files},
           {"processes", sandbox.processes},
           {"network", sandbox.network}}};
}

std::array<NumberField, 4> limits_of(Sandbox& sandbox) {
  return {{{"limit-cpu", sandbox.limits.cpu_seconds},
           {"limit-memory", sandbox.limits.memory},
           {"limit-processes", sandbox.limits.processes},
           {"limit-file", sandbox.limits.file_bytes}}};
}

void read_argument(std::string_view argument, Sandbox& sandbox) {
  const std::size_t equals = std::min(argument.find('='), argument.size());
  const std::string_view name = argument.substr(0, equals);
  const std::string_view value = argument.substr(std::min(equals + 1, argument.size()));
  for (const Flag& flag : flags_of(sandbox)) {
    if (name == flag.name) return void(flag.value = true);
  }
  for (const NumberField& limit : limits_of(sandbox)) {
    if (name == limit.name) return void(limit.value = read_number(value));
  }
  if (name == "user") return void(sandbox.user = static_cast<uid_t>(read_number(value)));
  if (name == "readable") return void(sandbox.readable.emplace_back(value));
  if (name == "program") return void(sandbox.program = value);
  if (name == "writable") return void(sandbox.writable.emplace_back(value));
  throw Error("cannot read a sandbox: unknown argument '" + std::string(argument) + "'");
}

/// Reads the arguments of sandbox_command(); `command` becomes the index of the command's first word.
Sandbox read_sandbox(int argc, char** argv, int& command) {
  Sandbox sandbox;
  for (command = 2; command < argc; ++command) {
    if (end_word == argv[command]) {
      ++command;
      return sandbox;
    }
    read_argument(argv[command], sandbox);
  }
  throw Error("cannot read a sandbox: its end is missing");
}

constexpr int cannot_enter = 125;
constexpr int cannot_start = 126;
constexpr int program_fd = 3;

void check(long result, const char* verb_and_object) {
  if (result < 0) throw_errno(verb_and_object);
}

void become(uid_t user) {
  check(::setgroups(0, nullptr), "leave root's groups");
  check(::setresgid(user, user, user), "become an unprivileged user");
  check(::setresuid(user, user, user), "become an unprivileged user");
}

void write_map(const char* file, const std::string& text) {
  const UniqueFd fd(::open(file, O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), text.data(), text.size()) < 0) throw_errno("write " + std::string(file));
}

/// One id may be mapped without privileges, after the groups are given up (user_namespaces(7)). Root's id
/// needs CAP_SETFCAP since Linux 5.12, so root stays unmapped.
void enter_user_namespace() {
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  check(::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "keep /proc/self");  // lost by become(); the maps are there
  check(::unshare(CLONE_NEWUSER), "make a user namespace");
  if (user == "0") return;
  write_map("/proc/self/setgroups", "deny");
  write_map("/proc/self/uid_map", user + " " + user + " 1");
  write_map("/proc/self/gid_map", group + " " + group + " 1");
}

void enter_namespaces(const Sandbox& sandbox) {
  if (sandbox.user_namespace) enter_user_namespace();
  int kinds = 0;
  if (sandbox.files) kinds |= CLONE_NEWNS;
  if (sandbox.network) kinds |= CLONE_NEWNET;
  if (sandbox.processes) kinds |= CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  if (kinds != 0) check(::unshare(kinds), "make namespaces");
}

void limit(__rlimit_resource resource, rlim_t value) {
  if (value == 0) return;
  rlimit now{};
  check(::getrlimit(resource, &now), "read a limit");
  if (now.rlim_max != RLIM_INFINITY && now.rlim_max < value) value = now.rlim_max;
  const rlimit wanted{value, value};
  check(::setrlimit(resource, &wanted), "set a limit");
}

void set_limits(const ProcessLimits& limits) {
  limit(RLIMIT_CPU, limits.cpu_seconds);
  limit(RLIMIT_DATA, limits.memory);
  limit(RLIMIT_NPROC, limits.processes);
  limit(RLIMIT_FSIZE, limits.file_bytes);
  const rlimit none{0, 0};
  check(::setrlimit(RLIMIT_CORE, &none), "set a limit");
}

/// No capability is left, and no set-user-ID program gives one back (prctl(2), PR_SET_NO_NEW_PRIVS).
void drop_privileges() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> none{};
  check(::syscall(SYS_capset, &header, none.data()), "drop capabilities");
  check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "rule out new privileges");
}

/// A directory above may keep an unprivileged user out.
void check_reach(const Sandbox& sandbox) {
  for (const std::string& path : sandbox.writable) {
    fs::path above;
    for (const fs::path& name : fs::path(path)) {
      above /= name;
      if (::access(above.c_str(), X_OK) < 0)
        throw_errno("enter " + above.string() + " as an unprivileged user");
    }
    if (::access(path.c_str(), W_OK) < 0) throw_errno("write to " + path + " as an unprivileged user");
  }
}

void enter(const Sandbox& sandbox, const std::string& directory) {
  if (sandbox.files) enter_private_root(sandbox);
  set_limits(sandbox.limits);
  if (sandbox.user != 0 && !sandbox.user_namespace) become(sandbox.user);
  drop_privileges();
  check_reach(sandbox);
  check(::chdir(directory.c_str()), "enter the directory to compile");
}

/// `program` is open before privileges are given up. A script's interpreter reads it from the descriptor, so
/// it stays open.
int start(char** command, const UniqueFd& program) {
  if (command[0] == nullptr) return 0;
  const bool by_descriptor = program && ::access(command[0], X_OK) < 0 && errno == EACCES;
  if (by_descriptor) check(::dup2(program.get(), program_fd), "keep the program open");
  check(static_cast<long>(::close_range(by_descriptor ? program_fd + 1 : program_fd, ~0U, 0)),
        "close descriptors");
  if (by_descriptor)
    ::execveat(program_fd, "", command, environ, AT_EMPTY_PATH);
  else
    ::execvp(command[0], command);
  std::fprintf(stderr, "cannot start %s: %s\n", command[0], errno_text(errno).c_str());
  return cannot_start;
}

constexpr std::array stop_signals{SIGTERM, SIGINT, SIGHUP};

sigset_t watched_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGCHLD);
  for (const int signal : stop_signals) ::sigaddset(&signals, signal);
  return signals;
}

int exit_with(int status) {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  std::signal(WTERMSIG(status), SIG_DFL);
  ::raise(WTERMSIG(status));
  return 128 + WTERMSIG(status);
}

/// Waits for the first process of a PID namespace. The kernel ends all others with it.
int wait_for_namespace(pid_t first, const sigset_t& signals) {
  for (;;) {
    const int signal = ::sigwaitinfo(&signals, nullptr);
    if (signal > 0 && signal != SIGCHLD) ::kill(first, SIGKILL);
    int status = 0;
    if (::waitpid(first, &status, WNOHANG) == first) return exit_with(status);
  }
}

/// Waits for a process of this process group, which gets the group's signals by itself. If the builder is
/// gone, also waits for all other descendants, so that the lock is held until they are gone.
int wait_for(pid_t first, pid_t builder) {
  int status = 0;
  while (::waitpid(first, &status, 0) != first) {
    if (errno != EINTR) throw_errno("wait for a process");
  }
  while (::getppid() != builder && (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR)) {
  }
  return exit_with(status);
}

/// Starts the command in a new process that keeps only the first three descriptors.
int run(const Sandbox& sandbox, const std::string& directory, char** command) {
  const pid_t builder = ::getppid();
  const sigset_t signals = watched_signals();
  check(::sigprocmask(SIG_BLOCK, &signals, nullptr), "block signals");
  // If the builder is killed, the kernel ends the namespace. The lock is held until then.
  if (sandbox.processes) {
    check(::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0), "watch the builder");
  } else {
    check(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "wait for all processes");
  }
  // Processes of this user could take the descriptors of this one (pidfd_getfd(2)). exec undoes it.
  check(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "hide the descriptors");
  const pid_t first = ::fork();
  check(first, "make a process");
  if (first > 0) return sandbox.processes ? wait_for_namespace(first, signals) : wait_for(first, builder);
  const UniqueFd program(sandbox.program.empty() ? -1 : ::open(sandbox.program.c_str(), O_RDONLY));
  if (!sandbox.open) enter(sandbox, directory);
  if (sandbox.processes)  // enter() has cleared it
    check(::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "watch the builder");
  check(::sigprocmask(SIG_UNBLOCK, &signals, nullptr), "unblock signals");
  return start(command, program);
}

}  // namespace

std::vector<std::string> sandbox_command(const Sandbox& sandbox, const std::vector<std::string>& command) {
  Sandbox copy = sandbox;
  std::vector<std::string> words{"/proc/self/exe", std::string(step_word),
                                 "user=" + std::to_string(sandbox.user)};
  for (const Flag& flag : flags_of(copy)) {
    if (flag.value) words.emplace_back(flag.name);
  }
  for (const NumberField& limit : limits_of(copy))
    words.push_back(std::string(limit.name) + "=" + std::to_string(limit.value));
  for (const std::string& path : sandbox.readable) words.push_back("readable=" + path);
  for (const std::string& path : sandbox.writable) words.push_back("writable=" + path);
  if (!sandbox.program.empty()) words.push_back("program=" + sandbox.program);
  words.emplace_back(end_word);
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

std::optional<int> run_sandbox_step(int argc, char** argv) {
  if (argc < 2 || step_word != argv[1]) return std::nullopt;
  try {
    int command = 0;
    const Sandbox sandbox = read_sandbox(argc, argv, command);
    const std::string directory = fs::current_path();
    if (sandbox.user != 0 && sandbox.user_namespace) become(sandbox.user);
    if (!sandbox.open) enter_namespaces(sandbox);
    return run(sandbox, directory, argv + command);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return cannot_enter;
  }
}

}  // namespace kms::builder
