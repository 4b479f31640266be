#include "supervisor/process/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "proto/program/duration.h"
#include "proto/program/error.h"
#include "proto/program/unique_fd.h"
#include "supervisor/process/become.h"

namespace kms::process {
namespace {

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (std::string& s : strings) result.push_back(s.data());
  result.push_back(nullptr);
  return result;
}

/// Copies that lie above all targets: otherwise one dup2 could overwrite the source of a later one.
std::vector<UniqueFd> copies_above(const std::vector<int>& fds) {
  const int above = std::max(static_cast<int>(fds.size()), STDERR_FILENO + 1);
  UniqueFd null;
  std::vector<UniqueFd> sources;
  for (int fd : fds) {
    if (fd < 0) {
      if (!null) null.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!null) throw_errno("open /dev/null");
      fd = null.get();
    }
    if (!sources.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, above))) throw_errno("copy a file descriptor");
  }
  return sources;
}

/// Why the kernel did not take `program`; what errno says of a script without its interpreter, and of a
/// folder, names neither.
Failure cause_of(const std::string& program, int error, bool as_another_user) {
  const std::string what = "cannot start " + program + ": ";
  struct stat file {};
  if (::stat(program.c_str(), &file) == 0) {
    if (S_ISDIR(file.st_mode)) return {what + "it is a folder", "name the program's file"};
    if (error == ENOENT)
      return {what + "the interpreter that its first line names, or its dynamic linker, is missing",
              "install it"};
  }
  if (error == ENOEXEC)
    return {what + "it is no program for this machine",
            "build it for this one; a script's first line has to name its interpreter (#!/bin/sh)"};
  if (error == EACCES && as_another_user)
    return {what + errno_text(error), "its user must be able to reach and to execute it"};
  if (error == EACCES)
    return {what + errno_text(error),
            "make the file executable (chmod +x), on a file system that is not mounted noexec"};
  return {what + errno_text(error), error == ENOENT ? "check the command's path" : ""};
}

/// No signal reaches this thread, nor a child that it forks, until the end of this.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

/// How long a child may take to become the program: its user may stop it, and a disk may hang.
constexpr auto patience = std::chrono::seconds(5);

/// What a child reported; nothing where it has become the program. Throws Error where neither came in time.
std::optional<NotBecome> await(int report, const std::string& program) {
  const auto until = std::chrono::steady_clock::now() + patience;
  pollfd reading{report, POLLIN, 0};
  for (auto left = patience; left.count() >= 0;
       left = std::chrono::floor<std::chrono::seconds>(until - std::chrono::steady_clock::now())) {
    const auto most = std::chrono::milliseconds(left);
    const int ready = ::poll(&reading, 1, static_cast<int>(most.count()));
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    NotBecome failure{};
    if (::read(report, &failure, sizeof failure) == sizeof failure) return failure;
    return std::nullopt;
  }
  throw Error(
      "cannot start " + program + ": the new process has not become it within " + go_duration(patience),
      "see whether its user stops it, or its disk hangs");
}

void end(pid_t pid) {
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

pid_t spawn(const Launch& launch) {
  const std::string program = find_program(launch.command.at(0));
  if (program.empty())
    throw Error("cannot start " + launch.command[0] + ": not found in PATH", "check the command's path");
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) throw_errno("make a pipe");
  const UniqueFd report(ends[0]);
  UniqueFd reported(ends[1]);
  std::vector<int> wanted = launch.fds;
  wanted.push_back(reported.get());
  std::vector<UniqueFd> sources = copies_above(wanted);
  reported = std::move(sources.back());
  sources.pop_back();
  std::vector<int> fds;
  for (const UniqueFd& source : sources) fds.push_back(source.get());
  std::vector<std::string> command = launch.command;
  std::vector<std::string> environment = launch.environment;
  if (!launch.pid_variable.empty())
    environment.push_back(launch.pid_variable + "=" + std::string(room_for_a_pid, '\0'));
  const std::vector<char*> words = pointers(command);
  const std::vector<char*> variables = pointers(environment);
  char* const own_pid =
      launch.pid_variable.empty() ? nullptr : environment.back().data() + launch.pid_variable.size() + 1;
  const Becoming child{program.c_str(), words.data(), variables.data(), fds,
                       launch,          ::getpid(),   own_pid,          reported.get()};
  pid_t pid = 0;
  {
    const SignalsBlocked blocked;
    pid = ::_Fork();
    if (pid == 0) become(child);
  }
  if (pid < 0) throw_errno("start " + program);
  reported.reset();
  std::optional<NotBecome> failure;
  try {
    failure = await(report.get(), program);
  } catch (...) {
    end(pid);
    throw;
  }
  if (!failure) return pid;
  end(pid);
  if (failure->what == nullptr) throw Error(cause_of(program, failure->error, launch.identity.has_value()));
  throw Error("cannot start " + program + ": cannot " + failure->what + ": " + errno_text(failure->error));
}

std::string find_program(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* variable = std::getenv("PATH");
  std::istringstream folders(variable == nullptr ? "/usr/bin:/bin" : variable);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string path = (folder.empty() ? "." : folder) + "/" + program;
    if (::access(path.c_str(), X_OK) == 0 && !std::filesystem::is_directory(path)) return path;
  }
  return "";
}

std::vector<std::string> own_environment() {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) result.emplace_back(*entry);
  return result;
}

}  // namespace kms::process
