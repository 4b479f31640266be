#include "builder/run/interruption.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
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

/// A write(2) to a stderr that nobody reads sees no signal, nor does a call that blocks in a file system.
/// After a signal the one may last 3 s and everything together 20 s, less than a pod's grace. Then the
/// process ends, and the next builder cleans up, as after SIGKILL.
[[noreturn]] void end_if_blocked(int signals) {
  constexpr auto interval = std::chrono::milliseconds(100);
  constexpr unsigned max_blocked = 30;
  constexpr unsigned max_intervals = 200;
  pollfd requested{signals, POLLIN, 0};
  while (::poll(&requested, 1, -1) != 1) {
  }
  unsigned blocked = 0;
  for (unsigned i = 0; i < max_intervals && blocked < max_blocked; ++i) {
    std::this_thread::sleep_for(interval);
    pollfd reader{STDERR_FILENO, POLLOUT, 0};
    blocked = ::poll(&reader, 1, 0) == 0 ? blocked + 1 : 0;
  }
  ::_exit(exit_code::failed);
}

}  // namespace

Interruption::Interruption() : signals_{unless_ignored(SIGINT), SIGTERM, unless_ignored(SIGHUP)} {
  const int signals = ::fcntl(signals_.fd(), F_DUPFD_CLOEXEC, 0);  // the thread outlives this
  if (signals < 0) throw_errno("watch for signals");
  std::thread(end_if_blocked, signals).detach();
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
