#include "common/process/exec.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace kms::process {
namespace {

bool set_limit(__rlimit_resource resource, rlim_t max) {
  const rlimit limit{max, max};
  return ::setrlimit(resource, &limit) == 0;
}

/// By number: glibc's functions would also change the caller's other threads, which the child does not have.
bool take_identity(const Identity& identity) {
  static_assert(sizeof(long) == 8, "elsewhere these calls take 16 bits, and others take 32");
  return ::syscall(SYS_setgroups, identity.groups.size(), identity.groups.data()) == 0 &&
         ::syscall(SYS_setresgid, identity.group, identity.group, identity.group) == 0 &&
         ::syscall(SYS_setresuid, identity.user, identity.user, identity.user) == 0;
}

/// Closes all other descriptors. The exec closes the last of these.
bool arrange_descriptors(const std::vector<int>& sources) {
  int target = 0;
  for (const int source : sources) {
    if (::dup2(source, target++) < 0) return false;
  }
  ::closefrom(target);
  return ::fcntl(target - 1, F_SETFD, FD_CLOEXEC) == 0;
}

void write_number(char* to, int number) {
  std::size_t digits = 1;
  for (int rest = number; rest >= 10; rest /= 10) ++digits;
  for (to[digits] = '\0'; digits > 0; number /= 10) to[--digits] = static_cast<char>('0' + number % 10);
}

/// execve(2) keeps ignored signals ignored and the mask as it is.
void reset_signals() {
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &by_default, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// Everything but the exec. Returns the step that failed, or nullptr.
const char* prepare(const ExecRequest& request) {
  const Launch& launch = request.launch;
  if (launch.new_session && ::setsid() < 0) return "begin a session";
  if (!launch.working_directory.empty() && ::chdir(launch.working_directory.c_str()) != 0)
    return "enter its directory";
  if (launch.memory && !set_limit(RLIMIT_DATA, *launch.memory)) return "limit its memory";
  if (request.own_pid != nullptr) write_number(request.own_pid, ::getpid());
  if (launch.identity && !take_identity(*launch.identity)) return "become its user";
  if (launch.threads && !set_limit(RLIMIT_NPROC, *launch.threads)) return "limit its processes";
  // The last step, since a change of user clears it. If the caller died before, this process has another
  // parent by now.
  if (launch.dies_with_caller) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return "tie its life to its parent's";
    if (::getppid() != request.caller) ::_exit(1);
  }
  return nullptr;
}

}  // namespace

void exec_request(const ExecRequest& request) {
  ExecFailure failure{"pass file descriptors", 0};
  int report = request.fds.back();
  if (arrange_descriptors(request.fds)) {
    report = static_cast<int>(request.fds.size()) - 1;
    failure.step = prepare(request);
  }
  if (failure.step == nullptr) {
    reset_signals();
    ::execve(request.program, request.arguments, request.environment);
  }
  failure.error = errno;
  static_cast<void>(!::write(report, &failure, sizeof failure));
  ::_exit(127);
}

}  // namespace kms::process
