#include "common/net/metrics_server.h"

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <memory>
#include <string_view>

#include "common/log/log.h"

namespace kms {
namespace {

constexpr auto client_patience = std::chrono::seconds(5);
constexpr auto pause_without_descriptors = std::chrono::seconds(1);
constexpr std::size_t max_request = 8192;

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses resolve(const MetricsAddress& address) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const char* host = address.host.empty() ? nullptr : address.host.c_str();
  if (const int error = ::getaddrinfo(host, address.port.c_str(), &hints, &found); error != 0) {
    throw Error("cannot find the address of " + address.host + ": " + ::gai_strerror(error),
                "name another one with --metrics-addr");
  }
  return {found, &::freeaddrinfo};
}

UniqueFd listen_on(const addrinfo& address, bool shared) {
  UniqueFd fd(
      ::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address.ai_protocol));
  const int on = 1;
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      (shared && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
      ::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
    fd.reset();
  }
  return fd;
}

/// "host:port" in numbers, of a socket's own end.
std::string own_address(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      ::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host.data(), host.size(), port.data(),
                    port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    throw_errno("read the address of the metrics");
  }
  const std::string name = host.data();
  return (address.ss_family == AF_INET6 ? "[" + name + "]" : name) + ":" + port.data();
}

std::string answer_to(std::string_view request, const std::function<std::string()>& text) {
  const std::string_view line = request.substr(0, request.find("\r\n"));
  const auto respond = [](const char* status, const std::string& body) {
    return std::string("HTTP/1.1 ") + status +
           "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: "
           "close\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
  };
  if (!line.starts_with("GET ")) return respond("405 Method Not Allowed", "only GET is answered\n");
  const std::string_view target = line.substr(4, line.find(' ', 4) - 4);
  if (target.substr(0, target.find('?')) == "/metrics") return respond("200 OK", text());
  return respond("404 Not Found", "the metrics are at /metrics\n");
}

}  // namespace

Outcome<MetricsAddress> MetricsAddress::parse(const std::string& text) {
  const auto colon = text.rfind(':');
  const auto bad = [&](const std::string& why) {
    return Error("'" + text + "' is not an address: " + why, "write it as 127.0.0.1:9090 or :9090");
  };
  if (colon == std::string::npos) return bad("it has no port");
  MetricsAddress address{text.substr(0, colon), text.substr(colon + 1)};
  unsigned port = 0;
  const char* const end = address.port.data() + address.port.size();
  const auto [stop, error] = std::from_chars(address.port.data(), end, port);
  if (error != std::errc{} || stop != end || port > 65535) return bad("its port is not a number up to 65535");
  const bool brackets = address.host.starts_with('[') && address.host.ends_with(']');
  if (brackets) address.host = address.host.substr(1, address.host.size() - 2);
  if (!brackets && address.host.find(':') != std::string::npos)
    return bad("an IPv6 address stands in brackets");
  return address;
}

MetricsServer::MetricsServer(const MetricsAddress& address, bool shared, std::function<std::string()> text)
    : stop_event_(::eventfd(0, EFD_CLOEXEC)), text_(std::move(text)) {
  if (!stop_event_) throw_errno("make an event descriptor");
  const Addresses addresses = resolve(address);
  for (const addrinfo* one = addresses.get(); one != nullptr && !listening_; one = one->ai_next) {
    listening_ = listen_on(*one, shared);
  }
  if (!listening_) {
    throw_errno("serve metrics on " + address.host + ":" + address.port,
                "name another port with --metrics-addr");
  }
  url_ = "http://" + own_address(listening_.get()) + "/metrics";
  thread_ = std::thread([this] { run(); });
}

MetricsServer::~MetricsServer() {
  ::eventfd_write(stop_event_.get(), 1);
  thread_.join();
}

void MetricsServer::run() {
  std::array watched{pollfd{stop_event_.get(), POLLIN, 0}, pollfd{listening_.get(), POLLIN, 0}};
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    if (watched[0].revents != 0) return;
    const UniqueFd connection(::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection) {
      serve(connection.get());
    } else if (errno == EMFILE || errno == ENFILE) {
      // It would only fail again at once.
      (void)wait_for(stop_event_.get(), 0, Clock::now() + pause_without_descriptors);
    }
  }
}

bool MetricsServer::wait_for(int fd, short events, Clock::time_point until) const {
  std::array watched{pollfd{stop_event_.get(), POLLIN, 0}, pollfd{fd, events, 0}};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  if (left <= 0) return false;
  const int ready = ::poll(watched.data(), watched.size(), static_cast<int>(left));
  return ready > 0 && watched[0].revents == 0;
}

void MetricsServer::serve(int connection) const try {
  const auto until = Clock::now() + client_patience;
  std::string request;
  while (request.find("\r\n\r\n") == std::string::npos) {
    std::array<char, 1024> part{};
    if (request.size() > max_request || !wait_for(connection, POLLIN, until)) return;
    const ssize_t got = ::recv(connection, part.data(), part.size(), 0);
    if (got <= 0) return;
    request.append(part.data(), static_cast<std::size_t>(got));
  }
  const std::string answer = answer_to(request, text_);
  for (std::string_view left = answer; !left.empty();) {
    if (!wait_for(connection, POLLOUT, until)) return;
    const ssize_t sent = ::send(connection, left.data(), left.size(), MSG_NOSIGNAL);
    if (sent < 0) return;
    left.remove_prefix(static_cast<std::size_t>(sent));
  }
  ::shutdown(connection, SHUT_WR);
} catch (const std::exception& error) {
  log::warning("cannot answer a scrape of the metrics", {{"cause", error.what()}});
}

}  // namespace kms
