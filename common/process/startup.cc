#include "common/process/startup.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <latch>
#include <thread>
#include <vector>

#include "common/error.h"

namespace kms::process {
namespace {

constexpr rlim_t small_address_space = rlim_t{4} << 30U;
constexpr rlim_t few_processes = 4096;
constexpr rlim_t min_open_files = 64;

bool below(auto resource, rlim_t value) {
  rlimit limit{};
  return ::getrlimit(resource, &limit) == 0 && limit.rlim_cur < value;
}

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
  ::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is an error of write(2), as a full disk is
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

/// Every timer may be late by the slack (prctl(2)), which systemd's TimerSlackNSec= sets.
void end_timers_in_time() {
  constexpr unsigned long kernels_default = 50'000;  // nanoseconds
  ::prctl(PR_SET_TIMERSLACK, kernels_default);
}

/// glibc reserves 64 MiB of addresses for the heap of each thread, which leaves no room for the threads'
/// stacks.
void share_the_heap_in_a_small_address_space() {
  if (below(RLIMIT_AS, small_address_space)) ::mallopt(M_ARENA_MAX, 1);
}

}  // namespace

/// 101 is the first priority that the compiler does not reserve.
[[gnu::constructor(101)]] void start_in_known_state() {
  open_standard_streams();
  reset_signals();
  repair_umask();
  raise_open_files();
  end_timers_in_time();
  share_the_heap_in_a_small_address_space();
}

void require_room() {
  if (below(RLIMIT_NOFILE, min_open_files)) {
    throw Error("cannot start with so few open files",
                "raise the hard limit (ulimit -Hn) to " + std::to_string(min_open_files) + " or more");
  }
  // The trial costs milliseconds.
  if (!below(RLIMIT_AS, small_address_space) && !below(RLIMIT_DATA, small_address_space) &&
      !below(RLIMIT_NPROC, few_processes)) {
    return;
  }
  constexpr std::size_t wanted = 14;  // as many as a supervisor or a provider has, or a few more
  std::latch all_started(1);
  std::vector<std::jthread> threads;
  const auto release = [&] { all_started.count_down(); };
  try {
    while (threads.size() < wanted) threads.emplace_back([&] { all_started.wait(); });
  } catch (const std::exception& error) {
    release();
    throw Error("cannot start " + std::to_string(wanted) + " threads: " + error.what(),
                "raise the limits of memory and processes (ulimit -v, ulimit -d, ulimit -u)");
  }
  release();
}

}  // namespace kms::process
