#include "common/process/startup.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

/// Reading from a closed stdin and writing to a closed stdout fail as before, with EBADF.
void open_standard_streams() {
  constexpr std::array modes{O_WRONLY, O_RDONLY, O_RDWR};
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", modes[fd]);  // takes the lowest free number: this one
  }
}

/// A parent's non-blocking pipe would cut the output short. Its own end stays as it is, since the pipe is
/// opened anew.
void make_pipes_blocking() {
  constexpr std::array paths{"/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"};
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    struct stat stream {};
    const int flags = ::fcntl(fd, F_GETFL);
    if ((flags & O_NONBLOCK) == 0 || ::fstat(fd, &stream) != 0 || !S_ISFIFO(stream.st_mode)) continue;
    // Without O_NONBLOCK, open(2) waits for the other end of a named pipe.
    const int opened = ::open(paths[fd], (flags & O_ACCMODE) | O_NONBLOCK);
    if (opened < 0) continue;
    ::fcntl(opened, F_SETFL, flags & ~O_NONBLOCK);
    ::dup2(opened, fd);
    ::close(opened);
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

/// A new thread's stack is as large as the limit, unless there is another default.
void enlarge_small_stacks() {
  constexpr rlim_t enough = rlim_t{1} << 20U;
  rlimit limit{};
  if (::getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= enough) return;
  const rlimit raised{enough, std::max(limit.rlim_max, enough)};
  if (::setrlimit(RLIMIT_STACK, &raised) != 0) {  // without privileges
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_STACK, &limit);
  }
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return;
  ::pthread_attr_setstacksize(&attributes, enough);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
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
  make_pipes_blocking();
  reset_signals();
  repair_umask();
  raise_open_files();
  enlarge_small_stacks();
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
