#include "builder/run/interruption.h"

#include <poll.h>

#include <algorithm>
#include <csignal>

namespace kms::builder {

Interruption::Interruption() : signals_{SIGINT, SIGTERM, SIGHUP} {}

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
