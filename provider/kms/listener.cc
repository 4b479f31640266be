#include "provider/kms/listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <limits>

#include "common/error.h"
#include "common/log/log.h"

namespace kms::provider {
namespace {

constexpr int retry_after_ms = 100;
constexpr int max_accepted_at_once = 16;
constexpr std::size_t max_silent = 256;  ///< a client speaks at once; the oldest makes room for a new one
constexpr int check_path_every_ms = 1000;

/// Errors that concern one connection only (accept(2)).
bool is_about_the_connection(int error) {
  return error == EINTR || error == ECONNABORTED || error == EPERM || error == EPROTO;
}

/// Keeps errno.
bool is_readable(int fd) {
  const int before = errno;
  pollfd entry{fd, POLLIN, 0};
  const bool readable = ::poll(&entry, 1, 0) == 1;
  errno = before;
  return readable;
}

/// True if a readable connection has only its end to read.
bool is_closed(int connection) {
  char byte = 0;
  return ::recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

}  // namespace

int OwnSocket::restore() {
  if (listener_->in_place()) return fd();
  const std::string uri = listener_->endpoint().uri();
  auto claimed = UnixListener::claim(listener_->endpoint(), access_);
  if (claimed) {
    log::warning("the socket's path was removed; bound it again", {{"socket", uri}});
    listener_ = std::make_unique<UnixListener>(*std::move(claimed));
  } else if (!warned_) {
    log::warning("the socket's path was removed and cannot be bound again; trying every second",
                 {{"socket", uri}, {"cause", claimed.error().line()}});
  }
  warned_ = !claimed;
  return fd();
}

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
  own_.emplace(*std::move(claimed), access);
  std::array<char, 16> mode{};
  std::snprintf(mode.data(), mode.size(), "mode %04o", static_cast<unsigned>(access.mode));
  description_ = endpoint.abstract() ? "abstract" : mode.data();
}

UniqueFd ListeningSocket::take_probe() { return handed_down_ ? std::move(handed_down_->probe) : UniqueFd(); }

bool ListeningSocket::wait_until_active(int stop_fd) const {
  if (!handed_down_ || !handed_down_->activate) return true;
  std::array watched{pollfd{stop_fd, POLLIN, 0}, pollfd{handed_down_->activate.get(), POLLIN, 0}};
  while (::poll(watched.data(), watched.size(), -1) < 0 && errno == EINTR) {
  }
  char byte = 0;
  return watched[0].revents == 0 && ::read(handed_down_->activate.get(), &byte, 1) == 1;
}

void ListeningSocket::release() {
  own_.reset();
  handed_down_.reset();
}

ConnectionAcceptor::ConnectionAcceptor(int listening_fd, Duration idle_timeout, Admit admit, Take take,
                                       OwnSocket* own)
    : listening_fd_(listening_fd),
      idle_timeout_(idle_timeout),
      admit_(std::move(admit)),
      take_(std::move(take)),
      own_(own),
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
  while (wait()) {
  }
  for (Silent& one : silent_) take_(std::move(one.connection));
}

/// Waits for the next event and handles it. False if there are no more.
bool ConnectionAcceptor::wait() {
  std::vector<pollfd> watched{{stop_event_.get(), POLLIN, 0}, {listening_fd_, POLLIN, 0}};
  for (const Silent& one : silent_) watched.push_back({one.connection.get(), POLLIN, 0});
  const int ready = ::poll(watched.data(), watched.size(), max_wait_ms());
  if (ready < 0 && errno != EINTR) {
    log::error("cannot wait for connections: " + errno_text(errno));
    return false;
  }
  if (watched[0].revents != 0) return false;
  pass_on({watched.begin() + 2, watched.end()});
  if (watched[1].revents != 0) accept_some();
  if (ready == 0 && own_ != nullptr) listening_fd_ = own_->restore();
  return true;
}

/// The time to the next check of the path, or to the timeout of a silent connection; -1 if neither is due.
int ConnectionAcceptor::max_wait_ms() const {
  const int wait = own_ == nullptr ? -1 : check_path_every_ms;
  if (silent_.empty()) return wait;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(silent_.front().until - SteadyClock::now());
  const std::int64_t max = own_ == nullptr ? std::numeric_limits<int>::max() : wait;
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, max));
}

/// Passes on the connections that speak, and closes those that were silent for too long.
void ConnectionAcceptor::pass_on(const std::vector<pollfd>& silent) {
  std::vector<Silent> left;
  for (std::size_t i = 0; i < silent.size(); ++i) {
    if (silent[i].revents != 0) {
      if (!is_closed(silent[i].fd)) take_(std::move(silent_[i].connection));
    } else if (SteadyClock::now() < silent_[i].until) {
      left.push_back(std::move(silent_[i]));
    }
  }
  silent_ = std::move(left);
}

void ConnectionAcceptor::accept_some() {
  for (int i = 0; i < max_accepted_at_once; ++i) {
    UniqueFd connection(::accept4(listening_fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection) {
      if (silent_.size() >= max_silent) silent_.erase(silent_.begin());
      if (admit_(connection.get()))
        silent_.push_back({std::move(connection), SteadyClock::now() + idle_timeout_});
      continue;
    }
    if (errno == EAGAIN) return;
    if (errno == EMFILE && !is_readable(listening_fd_)) return;  // accept(2) says so with an empty queue too
    if (errno == EMFILE && !silent_.empty()) {
      silent_.erase(silent_.begin());
      continue;
    }
    if (is_about_the_connection(errno)) continue;
    // Most likely out of descriptors or memory. The socket stays readable, so wait here instead of spinning.
    log::warning("cannot accept a connection: " + errno_text(errno) + "; trying again");
    pollfd stopping{stop_event_.get(), POLLIN, 0};
    ::poll(&stopping, 1, retry_after_ms);
    return;
  }
}

}  // namespace kms::provider
