#include "provider/kms/connection_drainer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace kms::provider {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto max_idle = 250ms;
constexpr auto poll_interval = 10ms;

/// 8 bytes of payload, type GOAWAY, no flags, stream 0; the highest last stream, so that none is refused;
/// NO_ERROR.
constexpr std::array<unsigned char, 17> goaway{0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0};

}  // namespace

void ConnectionDrainer::add(int connection) {
  forget_closed(0);
  UniqueFd copy(::fcntl(connection, F_DUPFD_CLOEXEC, 0));
  const std::lock_guard lock(mutex_);
  if (!copy) return;  // out of descriptors: that client sees gRPC's own shutdown
  connections_.push_back(std::move(copy));
}

void ConnectionDrainer::forget_closed(int timeout_ms) {
  const std::lock_guard lock(mutex_);
  std::vector<pollfd> watched;
  for (const UniqueFd& connection : connections_) watched.push_back({connection.get(), POLLRDHUP, 0});
  if (::poll(watched.data(), watched.size(), timeout_ms) <= 0) return;
  auto entry = watched.begin();
  std::erase_if(connections_, [&](const UniqueFd& /*connection*/) { return (entry++)->revents != 0; });
}

void ConnectionDrainer::send_goaway() {
  const std::lock_guard lock(mutex_);
  for (const UniqueFd& connection : connections_) {
    // The kernel takes this small frame whole or not at all, and each of gRPC's frames too while the client
    // reads: answers are far smaller than the socket's buffer. Frames can mix only if the client's queue is
    // full.
    (void)::send(connection.get(), goaway.data(), goaway.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

void ConnectionDrainer::cut_all() {
  const std::lock_guard lock(mutex_);
  for (const UniqueFd& connection : connections_) (void)::shutdown(connection.get(), SHUT_RDWR);
}

void ConnectionDrainer::drain(Duration grace, const std::function<bool()>& busy) {
  const auto deadline = Clock::now() + grace;
  send_goaway();
  auto last_busy = Clock::now();
  for (auto now = last_busy; now < deadline && now < last_busy + max_idle; now = Clock::now()) {
    forget_closed(static_cast<int>(poll_interval.count()));
    if (connections_.empty()) return;
    if (busy()) last_busy = Clock::now();
  }
}

}  // namespace kms::provider
