#include "supervisor/process/spawn.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

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
std::vector<UniqueFd> sources_of(const std::vector<int>& fds) {
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
Failure cause_of(const std::string& program, int error) {
  const std::string what = "cannot start " + program + ": ";
  struct stat file {};
  if (::stat(program.c_str(), &file) == 0) {
    if (S_ISDIR(file.st_mode)) return {what + "it is a folder", "name the program's file"};
    if (error == ENOENT)
      return {what + "the interpreter that its first line names, or its dynamic linker, is missing",
              "install it"};
  }
  if (error == ENOEXEC) return {what + "it is no program for this machine", "build it for this one"};
  if (error == EACCES)
    return {what + errno_text(error),
            "make the file executable (chmod +x), on a file system that is not mounted noexec"};
  return {what + errno_text(error), error == ENOENT ? "check the command's path" : ""};
}

}  // namespace

pid_t spawn(const Launch& launch) {
  const std::string program = find_program(launch.command.at(0));
  if (program.empty())
    throw Error("cannot start " + launch.command[0] + ": not found in PATH", "check the command's path");
  const std::vector<UniqueFd> sources = sources_of(launch.fds);
  std::vector<int> fds;
  for (const UniqueFd& source : sources) fds.push_back(source.get());
  std::vector<std::string> command = launch.command;
  std::vector<std::string> environment = launch.environment;
  if (!launch.pid_variable.empty())
    environment.push_back(launch.pid_variable + "=" + std::string(most_digits_of_a_pid, '\0'));
  const std::vector<char*> words = pointers(command);
  const std::vector<char*> variables = pointers(environment);
  Becoming child{program.c_str(), words.data(), variables.data(), fds, launch};
  if (!launch.pid_variable.empty())
    child.pid_digits = environment.back().data() + launch.pid_variable.size() + 1;
  const pid_t pid = start(child);
  if (child.error == 0) return pid;
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (child.failed_at == nullptr) throw Error(cause_of(program, child.error));
  throw Error("cannot start " + program + ": cannot " + child.failed_at + ": " + errno_text(child.error));
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
