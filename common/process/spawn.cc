#include "common/process/spawn.h"

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

#include "common/error.h"
#include "common/io/fd.h"
#include "common/process/exec.h"
#include "common/text/time.h"

namespace kms::process {
namespace {

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (std::string& s : strings) result.push_back(s.data());
  result.push_back(nullptr);
  return result;
}

/// Copies above all targets, since otherwise one dup2 could overwrite the source of a later one.
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

/// The error of execve(2). errno alone does not explain a directory or a script without its interpreter.
Error cause_of(const std::string& program, int error, bool as_another_user) {
  const std::string what = "cannot start " + program + ": ";
  struct stat file {};
  if (::stat(program.c_str(), &file) == 0) {
    if (S_ISDIR(file.st_mode)) return {what + "it is a directory", "name the program's file"};
    if (error == ENOENT)
      return {what + "the interpreter that its first line names, or its dynamic linker, is missing",
              "install it"};
  }
  if (error == ENOEXEC)
    return {what + "it is not a program for this machine",
            "build it for this machine; the first line of a script must name its interpreter (#!/bin/sh)"};
  if (error == EACCES && as_another_user)
    return {what + errno_text(error), "its user must be able to reach and to execute it"};
  if (error == EACCES)
    return {what + errno_text(error),
            "make the file executable (chmod +x), on a file system that is not mounted noexec"};
  return {what + errno_text(error), error == ENOENT ? "check the command's path" : ""};
}

/// Blocks all signals of this thread, and of a child that it forks, while it exists.
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

/// The time for a child to run the program. Its user may stop it, and a disk may hang.
constexpr auto exec_timeout = std::chrono::seconds(5);

/// Waits until the child runs `program` (its end of the pipe closes) or reports an error.
Outcome<> await(int report, const std::string& program, bool as_another_user) {
  using SteadyClock = std::chrono::steady_clock;
  const auto until = SteadyClock::now() + exec_timeout;
  pollfd reading{report, POLLIN, 0};
  for (auto now = SteadyClock::now(); now < until; now = SteadyClock::now()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now);
    if (::poll(&reading, 1, static_cast<int>(left.count())) <= 0) continue;  // a signal, or the time is over
    ExecFailure reported{};
    if (::read(report, &reported, sizeof reported) != sizeof reported) return {};
    if (reported.step == nullptr) return cause_of(program, reported.error, as_another_user);
    return Error("cannot start " + program + ": cannot " + reported.step + ": " + errno_text(reported.error));
  }
  return Error(
      "cannot start " + program + ": the new process does not run it after " + go_duration(exec_timeout),
      "check if its user stopped it, or if its disk hangs");
}

pid_t fork_into(const ExecRequest& request) {
  const SignalsBlocked blocked;
  const pid_t pid = ::_Fork();
  if (pid == 0) exec_request(request);
  if (pid < 0) throw_errno(std::string("start ") + request.program);
  return pid;
}

}  // namespace

pid_t spawn(const Launch& launch) {
  const std::string program = find_program(launch.command.at(0));
  if (program.empty())
    throw Error("cannot start " + launch.command[0] + ": not found in PATH", "check the command's path");
  std::vector<std::string> command = launch.command;
  std::vector<std::string> environment = launch.environment;
  char* own_pid = nullptr;
  if (!launch.pid_variable.empty()) {
    environment.push_back(launch.pid_variable + "=" + std::string(room_for_a_pid, '\0'));
    own_pid = environment.back().data() + launch.pid_variable.size() + 1;
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) throw_errno("make a pipe");
  const UniqueFd report(ends[0]);
  UniqueFd writer(ends[1]);
  std::vector<int> fds = launch.fds;
  fds.push_back(writer.get());
  std::vector<UniqueFd> sources = copies_above(fds);
  std::transform(sources.begin(), sources.end(), fds.begin(), [](const UniqueFd& fd) { return fd.get(); });
  const std::vector<char*> arguments = pointers(command);
  const std::vector<char*> variables = pointers(environment);
  const pid_t pid =
      fork_into({program.c_str(), arguments.data(), variables.data(), fds, launch, ::getpid(), own_pid});
  writer.reset();
  sources.clear();
  const auto started = await(report.get(), program, launch.identity.has_value());
  if (started) return pid;
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  throw started.error();
}

std::string find_program(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* variable = std::getenv("PATH");
  std::istringstream directories(variable == nullptr ? "/usr/bin:/bin" : variable);
  for (std::string directory; std::getline(directories, directory, ':');) {
    std::string path = (directory.empty() ? "." : directory) + "/" + program;
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
