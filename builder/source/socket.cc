#include "builder/source/socket.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>

namespace kms::builder {
namespace {

constexpr int wake_ms = 20;

}  // namespace

Outcome<> Socket::connect(const HostAndPort& to) {
  const addrinfo hints{0, AF_UNSPEC, SOCK_STREAM, 0, 0, nullptr, nullptr, nullptr};
  addrinfo* raw = nullptr;
  if (const int code = ::getaddrinfo(to.host.c_str(), to.port.c_str(), &hints, &raw); code != 0) {
    return Error("failed to resolve address for " + to.host + ": " +
                 (code == EAI_SYSTEM ? errno_text(errno) : ::gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(raw, ::freeaddrinfo);
  int error = 0;
  for (const addrinfo* address = raw; address != nullptr; address = address->ai_next) {
    error = connect_to(*address);
    if (error == 0) return {};
  }
  return Error("failed to connect to " + to.host + ": " + errno_text(error));
}

int Socket::connect_to(const addrinfo& address) {
  fd_.reset(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_) return errno;
  const int on = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd_.get(), address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait(POLLOUT)) return errno;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) < 0) return errno;
  if (error == 0) ++meter_.activity;
  return error;
}

bool Socket::wait(short events) const {
  pollfd entry{fd_.get(), events, 0};
  while (!meter_.cancelled) {
    const int ready = ::poll(&entry, 1, wake_ms);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
  errno = ECANCELED;
  return false;
}

ssize_t Socket::read(char* into, std::size_t size) {
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), into, size, 0);
    if (n >= 0) {
      ++meter_.activity;
      meter_.bytes += static_cast<std::uint64_t>(n);
      return n;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN && wait(POLLIN)) continue;
    return -1;
  }
}

ssize_t Socket::write(const char* bytes, std::size_t size) {
  for (;;) {
    const ssize_t n = ::send(fd_.get(), bytes, size, MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    if (errno == EAGAIN && wait(POLLOUT)) continue;
    return -1;
  }
}

}  // namespace kms::builder
