#include "builder/run/interruption.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <thread>

#include "common/cli/exit_code.h"

namespace kms::builder {

namespace {

/// nohup(1) and `sh -c "builder &"` start the program with a signal ignored. It stays ignored: SIGTERM, which
/// always counts, takes its place in the set.
int unless_ignored(int signal) {
  struct sigaction action {};
  ::sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_IGN ? SIGTERM : signal;
}

bool is_ready(int fd, short events, int milliseconds) {
  pollfd watched{fd, events, 0};
  return ::poll(&watched, 1, milliseconds) > 0;
}

/// Ends the process if it is stuck after a signal: a write(2) to a stderr that nobody reads and a call that
/// blocks in a file system see no signal. The write may last 3 s and everything together 20 s, less than a
/// pod's grace period. The next builder then cleans up, as after SIGKILL. Returns once `end` is readable.
void end_if_blocked(int signals, int end) {
  constexpr int interval_ms = 100;
  constexpr unsigned max_blocked = 30;
  constexpr unsigned max_intervals = 200;
  std::array<pollfd, 2> watched{{{signals, POLLIN, 0}, {end, POLLIN, 0}}};
  while (::poll(watched.data(), watched.size(), -1) < 0) {
  }
  unsigned blocked = 0;
  for (unsigned i = 0; i < max_intervals && blocked < max_blocked; ++i) {
    if (is_ready(end, POLLIN, interval_ms)) return;
    blocked = is_ready(STDERR_FILENO, POLLOUT, 0) ? 0 : blocked + 1;
  }
  ::_exit(exit_code::failed);
}

}  // namespace

Interruption::Interruption()
    : signals_{unless_ignored(SIGINT), SIGTERM, unless_ignored(SIGHUP)}, end_(::eventfd(0, EFD_CLOEXEC)) {
  if (!end_) throw_errno("watch for signals");
  watcher_ = std::thread(end_if_blocked, signals_.fd(), end_.get());
}

Interruption::~Interruption() {
  ::eventfd_write(end_.get(), 1);
  watcher_.join();
}

bool Interruption::requested() const { return signals_.pending(); }

void Interruption::check() const {
  if (requested()) throw Interrupted{};
}

void Interruption::wait_for(Duration duration) const {
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  pollfd watched{signals_.fd(), POLLIN, 0};
  if (::poll(&watched, 1, static_cast<int>(std::min<decltype(milliseconds)>(milliseconds, 60'000))) > 0) {
    throw Interrupted{};
  }
}

std::string Interruption::take_name() const { return process::signal_name(signals_.take()); }

}  // namespace kms::builder
