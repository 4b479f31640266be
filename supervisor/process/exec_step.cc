#include "supervisor/process/exec_step.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string_view>

namespace kms::process {
namespace {

constexpr auto word = "exec-step";

/// Where each word stands.
enum Words {
  program_word,
  step_word,
  supervisor_word,
  report_word,
  user_word,
  memory_word,
  threads_word,
  first_word
};

std::string number_or_none(const auto& value) { return value ? std::to_string(*value) : "-"; }

/// "0:0:4,27" or "-".
std::string text_of(const std::optional<Identity>& identity) {
  if (!identity) return "-";
  std::string text = std::to_string(identity->user) + ":" + std::to_string(identity->group) + ":";
  for (const auto group : identity->groups) text += std::to_string(group) + ",";
  return text;
}

bool set_limit(__rlimit_resource resource, const char* text) {
  if (std::strcmp(text, "-") == 0) return true;
  const rlim_t most = std::strtoull(text, nullptr, 10);
  const rlimit limit{most, most};
  return ::setrlimit(resource, &limit) == 0;
}

bool take_identity(const char* text) {
  if (std::strcmp(text, "-") == 0) return true;
  std::istringstream words(text);
  char colon = 0;
  uid_t user = 0;
  gid_t group = 0;
  words >> user >> colon >> group >> colon;
  std::vector<gid_t> groups;
  for (gid_t next = 0; words >> next; words >> colon) groups.push_back(next);
  return ::setgroups(groups.size(), groups.data()) == 0 && ::setresgid(group, group, group) == 0 &&
         ::setresuid(user, user, user) == 0;
}

/// What execvp(3) says of a script whose interpreter is missing, and of a folder, names neither.
std::string cause_of(const char* program, int error) {
  struct stat file {};
  if (std::strchr(program, '/') != nullptr && ::stat(program, &file) == 0) {
    if (S_ISDIR(file.st_mode)) return "it is a folder";
    if (error == ENOENT)
      return "the interpreter that its first line names, or its dynamic linker, is missing";
    if (error == ENOEXEC) return "it is no program for this machine";
  }
  return errno_text(error);
}

int fail(int report_fd, const std::string& what, const std::string& cause, int code) {
  const std::string line = "cannot " + what + ": " + cause;
  static_cast<void>(!::write(report_fd < 0 ? STDERR_FILENO : report_fd, line.data(), line.size()));
  return code;
}

}  // namespace

std::vector<std::string> exec_step_command(const ExecStep& step) {
  std::vector<std::string> words{"/proc/self/exe",
                                 word,
                                 std::to_string(::getpid()),
                                 std::to_string(step.report_fd),
                                 text_of(step.identity),
                                 number_or_none(step.memory),
                                 number_or_none(step.threads)};
  words.insert(words.end(), step.command.begin(), step.command.end());
  return words;
}

bool is_exec_step(int argc, const char* const* argv) {
  return argc > first_word && std::strcmp(argv[step_word], word) == 0;
}

int run_exec_step(int, char** argv) {
  const long supervisor = std::strtol(argv[supervisor_word], nullptr, 10);
  const int report_fd = static_cast<int>(std::strtol(argv[report_word], nullptr, 10));
  if (report_fd >= 0) ::fcntl(report_fd, F_SETFD, FD_CLOEXEC);
  if (!set_limit(RLIMIT_DATA, argv[memory_word]))
    return fail(report_fd, "limit the plugin's memory", errno_text(errno), 126);
  if (!take_identity(argv[user_word]))
    return fail(report_fd, "become the plugin's user", errno_text(errno), 126);
  if (!set_limit(RLIMIT_NPROC, argv[threads_word]))
    return fail(report_fd, "limit the plugin's processes", errno_text(errno), 126);
  // A change of user clears it, so it comes last. The supervisor may have died before the kernel was asked:
  // then this process has another parent by now.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || ::getppid() != supervisor) return 126;
  if (std::getenv("LISTEN_FDS") != nullptr) ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  char** const command = argv + first_word;
  ::execvp(command[0], command);
  const int error = errno;
  return fail(report_fd, std::string("start ") + command[0], cause_of(command[0], error),
              error == ENOENT ? 127 : 126);
}

}  // namespace kms::process
