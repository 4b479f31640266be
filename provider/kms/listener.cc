#include "provider/server/connection_acceptor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>

#include "common/error.h"
#include "common/log/log.h"

namespace kms::provider {
namespace {

constexpr int retry_after_ms = 100;

/// Errors of one connection that came and went (accept(2)); the next one may be fine.
bool is_about_the_connection(int error) {
  return error == EINTR || error == ECONNABORTED || error == EPERM || error == EPROTO;
}

}  // namespace

ConnectionAcceptor::ConnectionAcceptor(int listening_fd, Take take)
    : listening_fd_(listening_fd),
      take_(std::move(take)),
      stop_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!stop_event_) throw_errno("make an event descriptor");
  thread_ = std::thread([this] { run(); });
}

void ConnectionAcceptor::stop() {
  if (!thread_.joinable()) return;
  ::eventfd_write(stop_event_.get(), 1);
  thread_.join();
}

void ConnectionAcceptor::run() {
  std::array watched{pollfd{stop_event_.get(), POLLIN, 0}, pollfd{listening_fd_, POLLIN, 0}};
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) {
      log::error("cannot wait for connections: " + errno_text(errno));
      return;
    }
    if (watched[0].revents != 0) return;
    if (watched[1].revents != 0) accept_all();
  }
}

void ConnectionAcceptor::accept_all() {
  while (true) {
    UniqueFd connection(::accept4(listening_fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection) {
      take_(std::move(connection));
      continue;
    }
    if (errno == EAGAIN) return;
    if (is_about_the_connection(errno)) continue;
    // Out of descriptors or memory, most likely: the socket stays readable, so wait here instead of spinning.
    log::warning("cannot accept a connection: " + errno_text(errno) + "; trying again");
    pollfd stopping{stop_event_.get(), POLLIN, 0};
    ::poll(&stopping, 1, retry_after_ms);
    return;
  }
}

}  // namespace kms::provider
