#include "common/process/startup.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

namespace kms::process {
namespace {

void open_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", O_RDWR);  // takes the lowest free number: this one
  }
}

void reset_signals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal == SIGHUP || signal == SIGINT || signal == SIGQUIT) continue;
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void repair_umask() {
  constexpr mode_t owner = 0700;
  const mode_t inherited = ::umask(owner);
  ::umask(inherited & ~owner);
}

void raise_open_files() {
  constexpr rlim_t enough = 1024;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= enough) return;
  limit.rlim_cur = std::min(limit.rlim_max, enough);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

/// 101 is the first priority that the compiler does not reserve.
[[gnu::constructor(101)]] void start_in_known_state() {
  open_standard_streams();
  reset_signals();
  repair_umask();
  raise_open_files();
}

}  // namespace kms::process
