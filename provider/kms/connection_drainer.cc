#include "provider/server/farewell.h"

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

constexpr auto idle_linger = 250ms;
constexpr auto look_again_after = 10ms;

/// 8 bytes of payload, type GOAWAY, no flags, stream 0; the highest last stream, so that none is refused;
/// NO_ERROR.
constexpr std::array<unsigned char, 17> goaway{0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0};

}  // namespace

void Farewell::add(int connection) {
  forget_closed(0);
  UniqueFd copy(::fcntl(connection, F_DUPFD_CLOEXEC, 0));
  const std::lock_guard lock(mutex_);
  if (copy)
    connections_.push_back(std::move(copy));  // out of descriptors: that client will see gRPC's own end
}

void Farewell::forget_closed(int timeout_ms) {
  const std::lock_guard lock(mutex_);
  std::vector<pollfd> watched;
  for (const UniqueFd& connection : connections_) watched.push_back({connection.get(), POLLRDHUP, 0});
  if (::poll(watched.data(), watched.size(), timeout_ms) <= 0) return;
  for (const pollfd& entry : watched) {
    if (entry.revents == 0) continue;
    std::erase_if(connections_, [&](const UniqueFd& connection) { return connection.get() == entry.fd; });
  }
}

void Farewell::send_goaway() {
  const std::lock_guard lock(mutex_);
  for (const UniqueFd& connection : connections_) {
    // This small message goes whole or not at all, and so does each of gRPC's while a client reads: answers
    // are far smaller than the socket's buffer. Only a client that left its queue full could see one within
    // another.
    (void)::send(connection.get(), goaway.data(), goaway.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

void Farewell::cut_all() {
  const std::lock_guard lock(mutex_);
  for (const UniqueFd& connection : connections_) (void)::shutdown(connection.get(), SHUT_RDWR);
}

void Farewell::say(Duration grace, const std::function<bool()>& busy) {
  const auto deadline = Clock::now() + grace;
  send_goaway();
  auto last_busy = Clock::now();
  for (auto now = last_busy; now < deadline && now < last_busy + idle_linger; now = Clock::now()) {
    forget_closed(static_cast<int>(look_again_after.count()));
    if (connections_.empty()) return;
    if (busy()) last_busy = Clock::now();
  }
}

}  // namespace kms::provider
