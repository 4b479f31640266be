#include "supervisor/process/become.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <limits>
#include <memory>

#include "proto/program/error.h"

// The child runs on the caller's memory, thread-local data included: it calls the kernel alone, allocates
// nothing, and no sanitizer keeps books of it.
#define KMS_IN_CHILD __attribute__((no_sanitize_address, no_sanitize_thread, noinline))

namespace kms::process {
namespace {

constexpr int last_signal = 64;
constexpr std::size_t bytes_of_signals = last_signal / 8;
using Signals = std::array<unsigned char, bytes_of_signals>;  ///< as the kernel has them, a bit each

/// struct sigaction of rt_sigaction(2): all zero is the default disposition.
struct KernelAction {
  std::array<unsigned long, 4> words;
};

struct Stack {
  alignas(16) std::array<std::byte, std::size_t{32} * 1024> bytes;
};

KMS_IN_CHILD bool set_limit(int resource, rlim_t most) {
  const rlimit limit{most, most};
  return ::syscall(SYS_prlimit64, 0, resource, &limit, nullptr) == 0;
}

/// glibc's functions would change the user of all of the caller's threads.
KMS_IN_CHILD bool take_identity(const Identity& identity) {
  return ::syscall(SYS_setgroups, identity.groups.size(), identity.groups.data()) == 0 &&
         ::syscall(SYS_setresgid, identity.group, identity.group, identity.group) == 0 &&
         ::syscall(SYS_setresuid, identity.user, identity.user, identity.user) == 0;
}

KMS_IN_CHILD bool arrange_descriptors(const std::vector<int>& sources) {
  unsigned target = 0;
  for (const int source : sources) {
    if (::syscall(SYS_dup3, source, target++, 0) < 0) return false;
  }
  if (::syscall(SYS_close_range, target, std::numeric_limits<unsigned>::max(), 0) == 0) return true;
  rlimit most{};  // a kernel before 5.9
  if (::syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &most) != 0) return false;
  for (rlim_t fd = target; fd < most.rlim_cur; ++fd) ::syscall(SYS_close, fd);
  return true;
}

KMS_IN_CHILD void write_digits(char* to, long number) {
  std::size_t digits = 1;
  for (long rest = number; rest >= 10; rest /= 10) ++digits;
  for (to[digits] = '\0'; digits > 0; number /= 10) to[--digits] = static_cast<char>('0' + number % 10);
}

/// What is done in the child but for the program itself; nullptr, or what could not be done.
KMS_IN_CHILD const char* prepare(const Becoming& child, long caller) {
  const Launch& launch = child.launch;
  constexpr KernelAction by_default{};
  for (int signal = 1; signal <= last_signal; ++signal)
    ::syscall(SYS_rt_sigaction, signal, &by_default, nullptr, bytes_of_signals);
  if (launch.new_session && ::syscall(SYS_setsid) < 0) return "begin a session";
  if (!arrange_descriptors(child.fds)) return "pass file descriptors";
  if (!launch.working_directory.empty() && ::syscall(SYS_chdir, launch.working_directory.c_str()) != 0)
    return "enter its folder";
  if (launch.memory && !set_limit(RLIMIT_DATA, *launch.memory)) return "limit its memory";
  if (launch.identity && !take_identity(*launch.identity)) return "become its user";
  if (launch.threads && !set_limit(RLIMIT_NPROC, *launch.threads)) return "limit its processes";
  if (launch.dies_with_caller) {
    // A change of user clears it, so it comes last. The caller may have died before the kernel was asked:
    // then this process has another parent by now.
    if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
      return "bind its life to its starter's";
    if (::syscall(SYS_getppid) != caller) ::syscall(SYS_exit_group, 1);
  }
  if (child.pid_digits != nullptr) write_digits(child.pid_digits, ::syscall(SYS_getpid));
  constexpr Signals none{};
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, bytes_of_signals);
  return nullptr;
}

struct Argument {
  Becoming& child;
  long caller;
};

KMS_IN_CHILD int become(void* argument) {
  auto& [child, caller] = *static_cast<Argument*>(argument);
  child.failed_at = prepare(child, caller);
  if (child.failed_at == nullptr) ::syscall(SYS_execve, child.program, child.words, child.variables);
  child.error = errno;
  ::syscall(SYS_exit_group, 127);
  return 0;
}

}  // namespace

pid_t start(Becoming& child) {
  const auto stack = std::make_unique<Stack>();
  Argument argument{child, ::getpid()};
  // None of the caller's handlers may run in the child. By number: glibc keeps two signals to itself.
  Signals all;
  all.fill(0xFF);
  Signals before{};
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, bytes_of_signals);
  const int dumpable = ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
  const pid_t pid =
      ::clone(become, stack->bytes.data() + stack->bytes.size(), CLONE_VM | CLONE_VFORK | SIGCHLD, &argument);
  const int error = errno;
  // A change of user takes it from the memory that both share.
  if (child.launch.identity) ::prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, bytes_of_signals);
  if (pid < 0) throw Error("cannot start " + child.launch.command.at(0) + ": " + errno_text(error));
  return pid;
}

}  // namespace kms::process
