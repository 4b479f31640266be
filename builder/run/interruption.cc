#include "builder/run/interruption.h"

#include <poll.h>

#include <algorithm>
#include <csignal>

namespace kms::builder {

namespace {

/// nohup(1) and `sh -c "builder &"` start the program with a signal ignored. It stays ignored: SIGTERM, which
/// always counts, takes its place in the set.
int unless_ignored(int signal) {
  struct sigaction action {};
  ::sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_IGN ? SIGTERM : signal;
}

}  // namespace

Interruption::Interruption() : signals_{unless_ignored(SIGINT), SIGTERM, unless_ignored(SIGHUP)} {}

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
