#include "builder/source/socket.h"

#include <git2/sys/stream.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <memory>

#include "builder/git/libgit2.h"

namespace kms::builder {
namespace {

constexpr int cancel_check_ms = 20;
constexpr std::int64_t max_retry_after = 24 * 3600;

thread_local FetchMeter* current_meter = nullptr;
thread_local std::optional<HostAndPort> current_detour;
thread_local HostAndPort latest;

/// Called from C frames: nothing throws.
struct Stream : git_stream {
  Stream(FetchMeter& meter, HostAndPort to) : git_stream{}, socket(meter), destination(std::move(to)) {}

  Socket socket;
  HostAndPort destination;
};

Socket& socket_of(git_stream* stream) { return static_cast<Stream*>(stream)->socket; }

int connect_stream(git_stream* stream) noexcept {
  auto* self = static_cast<Stream*>(stream);
  const Outcome<> connected = self->socket.connect(self->destination);
  if (connected) return 0;
  git_error_set_str(GIT_ERROR_NET, connected.error().what());
  return -1;
}

ssize_t fail_lost() {
  git_error_set_str(GIT_ERROR_NET, ("the connection was lost: " + errno_text(errno)).c_str());
  return -1;
}

ssize_t read_stream(git_stream* stream, void* into, std::size_t size) noexcept {
  const ssize_t n = socket_of(stream).read(static_cast<char*>(into), size);
  if (n < 0) return fail_lost();
  const std::string_view bytes(static_cast<const char*>(into), static_cast<std::size_t>(n));
  // libgit2 gives no header away. Below TLS this sees nothing: there the wait is a guess (fetch.cc).
  if (bytes.starts_with("HTTP/1.")) current_meter->retry_after = retry_after(bytes, std::time(nullptr));
  return n;
}

/// A CONNECT names the destination of everything after it (RFC 9110, 9.3.6).
void note_tunnel(std::string_view request) {
  constexpr std::string_view verb = "CONNECT ";
  if (!request.starts_with(verb)) return;
  request.remove_prefix(verb.size());
  latest = host_and_port(std::string(request.substr(0, request.find(' '))), "443");
}

ssize_t write_stream(git_stream* stream, const char* bytes, std::size_t size, int /*flags*/) noexcept {
  note_tunnel({bytes, size});
  const ssize_t n = socket_of(stream).write(bytes, size);
  return n < 0 ? fail_lost() : n;
}

int close_stream(git_stream* stream) noexcept {
  socket_of(stream).close();
  return 0;
}

void free_stream(git_stream* stream) noexcept { delete static_cast<Stream*>(stream); }

int make_stream(git_stream** out, const char* host, const char* port) noexcept {
  latest = {host, port};
  auto* stream = new Stream(*current_meter, current_detour.value_or(latest));
  stream->version = GIT_STREAM_VERSION;
  stream->connect = connect_stream;
  stream->read = read_stream;
  stream->write = write_stream;
  stream->close = close_stream;
  stream->free = free_stream;
  *out = stream;
  return 0;
}

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
    if (error == 0) {
      meter_.hung_up = false;
      return {};
    }
  }
  return Error("failed to connect to " + to.host + ": " + errno_text(error));
}

int Socket::connect_to(const addrinfo& address) {
  fd_.reset(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_) return errno;
  // libgit2 writes a request's head and body separately. With Nagle's algorithm and delayed acknowledgements
  // each request would take 40 ms more.
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
    const int ready = ::poll(&entry, 1, cancel_check_ms);
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
      meter_.hung_up = n == 0;
      return n;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN && wait(POLLIN)) continue;
    meter_.hung_up = true;
    return -1;
  }
}

ssize_t Socket::write(const char* bytes, std::size_t size) {
  for (;;) {
    const ssize_t n = ::send(fd_.get(), bytes, size, MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    if (errno == EAGAIN && wait(POLLOUT)) continue;
    meter_.hung_up = true;
    return -1;
  }
}

std::int64_t retry_after(std::string_view answer, std::int64_t now) {
  constexpr std::string_view name = "\r\nretry-after:";
  const std::string_view head = answer.substr(0, answer.find("\r\n\r\n"));
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  const auto found = std::search(head.begin(), head.end(), name.begin(), name.end(), same);
  if (found == head.end()) return 0;
  std::string value(found + static_cast<std::ptrdiff_t>(name.size()), head.end());
  value = value.substr(0, value.find('\r'));
  value.erase(0, value.find_first_not_of(' '));
  std::int64_t seconds = 0;
  if (std::from_chars(value.data(), value.data() + value.size(), seconds).ec != std::errc{}) {
    std::tm date{};
    if (::strptime(value.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date) == nullptr) return 0;
    seconds = ::timegm(&date) - now;
  }
  return std::clamp<std::int64_t>(seconds, 0, max_retry_after);
}

void use_own_sockets(FetchMeter& meter, std::optional<HostAndPort> detour) {
  current_meter = &meter;
  current_detour = std::move(detour);
  git_stream_registration registration{GIT_STREAM_VERSION, make_stream, nullptr};
  git::check(git_stream_register(GIT_STREAM_STANDARD, &registration), "register a stream");
}

const HostAndPort& last_connected() { return latest; }

void use_stock_sockets() {
  git::check(git_stream_register(GIT_STREAM_STANDARD, nullptr), "register a stream");
}

}  // namespace kms::builder
