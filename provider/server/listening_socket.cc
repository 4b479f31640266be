#include "provider/server/listening_socket.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

namespace kms::provider {

ListeningSocket::ListeningSocket(const Endpoint& endpoint, const SocketAccess& access) {
  auto handed_down = take_handed_down();
  if (!handed_down) throw Error(handed_down.error());
  handed_down_ = *std::move(handed_down);
  if (handed_down_) {
    description_ = "handed down by the supervisor";
    return;
  }
  Outcome<UnixListener> claimed = UnixListener::claim(endpoint, access);
  if (!claimed) throw Error(claimed.error());
  own_.emplace(*std::move(claimed));
  std::array<char, 16> mode{};
  std::snprintf(mode.data(), mode.size(), "mode %04o", static_cast<unsigned>(access.mode));
  description_ = endpoint.abstract() ? "abstract" : mode.data();
}

UniqueFd ListeningSocket::take_probe() { return handed_down_ ? std::move(handed_down_->probe) : UniqueFd(); }

bool ListeningSocket::wait_for_turn(int stop_fd) const {
  if (!handed_down_ || !handed_down_->turn) return true;
  std::array watched{pollfd{stop_fd, POLLIN, 0}, pollfd{handed_down_->turn.get(), POLLIN, 0}};
  while (::poll(watched.data(), watched.size(), -1) < 0 && errno == EINTR) {
  }
  char turn = 0;
  return watched[0].revents == 0 && ::read(handed_down_->turn.get(), &turn, 1) == 1;
}

void ListeningSocket::release() {
  own_.reset();
  handed_down_.reset();
}

}  // namespace kms::provider
