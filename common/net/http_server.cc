#include "common/net/http_server.h"

#include <netdb.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "common/log/log.h"

namespace kms {
namespace {

constexpr auto client_timeout = std::chrono::seconds(5);
constexpr auto pause_without_resources = std::chrono::seconds(1);
constexpr std::size_t max_request = 8192;

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses resolve(const TcpAddress& address, const std::string& port) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const char* host = address.host.empty() ? nullptr : address.host.c_str();
  if (const int error = ::getaddrinfo(host, port.c_str(), &hints, &found); error != 0) {
    throw Error("cannot find the address of " + address.host + ": " + ::gai_strerror(error),
                "use another host or an IP address");
  }
  return {found, &::freeaddrinfo};
}

/// Empty, with errno set, on failure. An IPv6 socket leaves IPv4 to a socket of its own.
UniqueFd listen_on(const addrinfo& address, bool shared) {
  UniqueFd fd(
      ::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address.ai_protocol));
  const int on = 1;
  const auto set = [&](int level, int option) {
    return ::setsockopt(fd.get(), level, option, &on, sizeof on) == 0;
  };
  if (fd && set(SOL_SOCKET, SO_REUSEADDR) && (!shared || set(SOL_SOCKET, SO_REUSEPORT)) &&
      (address.ai_family != AF_INET6 || set(IPPROTO_IPV6, IPV6_V6ONLY)) &&
      ::bind(fd.get(), address.ai_addr, address.ai_addrlen) == 0 && ::listen(fd.get(), SOMAXCONN) == 0)
    return fd;
  const int error = errno;
  fd.reset();
  errno = error;
  return fd;
}

/// The machine has no such address, for example because IPv6 is turned off.
bool is_missing_address(int error) {
  return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

/// The host and the port of a socket's own end, in numbers.
std::pair<std::string, std::string> own_address(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      ::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host.data(), host.size(), port.data(),
                    port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    throw_errno("read the address of the HTTP server");
  }
  const std::string name = host.data();
  return {address.ss_family == AF_INET6 ? "[" + name + "]" : name, port.data()};
}

/// Listens on every address of the host, all on one port.
std::vector<UniqueFd> listen_on_all(const TcpAddress& address, bool shared) {
  std::vector<UniqueFd> listeners;
  std::string port = address.port;
  const Addresses first = resolve(address, port);
  for (const addrinfo* one = first.get(); one != nullptr; one = one->ai_next) {
    // A free port is chosen once: the other sockets take the port of the first.
    if (!listeners.empty()) port = own_address(listeners.front().get()).second;
    auto* name = reinterpret_cast<sockaddr_in*>(one->ai_addr);  // sin_port and sin6_port are at one place
    name->sin_port = htons(static_cast<std::uint16_t>(std::stoul(port)));
    UniqueFd listener = listen_on(*one, shared);
    if (listener) {
      listeners.push_back(std::move(listener));
    } else if (!is_missing_address(errno) || (one->ai_next == nullptr && listeners.empty())) {
      throw_errno("listen on " + address.host + ":" + address.port,
                  errno == EADDRNOTAVAIL ? "use an address of this machine, or :" + address.port
                                         : "use another port");
    }
  }
  return listeners;
}

std::string response(const HttpResponse& answer) {
  const char* reason = answer.status == 200   ? "OK"
                       : answer.status == 404 ? "Not Found"
                       : answer.status == 405 ? "Method Not Allowed"
                                              : "Service Unavailable";
  return "HTTP/1.1 " + std::to_string(answer.status) + " " + reason +
         "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: "
         "close\r\nContent-Length: " +
         std::to_string(answer.body.size()) + "\r\n\r\n" + answer.body;
}

}  // namespace

Outcome<TcpAddress> TcpAddress::parse(const std::string& text) {
  const auto colon = text.rfind(':');
  const auto bad = [&](const std::string& why) {
    return Error("'" + text + "' is not an address: " + why, "write it as 127.0.0.1:9090 or :9090");
  };
  if (colon == std::string::npos) return bad("it has no port");
  TcpAddress address{text.substr(0, colon), text.substr(colon + 1)};
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

struct HttpServer::Client {
  UniqueFd fd;
  Clock::time_point until;  ///< dropped then
  std::string request;
  std::string response;  ///< the part that is not sent yet
  bool sent = false;     ///< all of it; only the client's end is awaited
  bool over = false;

  [[nodiscard]] short awaited() const { return response.empty() ? POLLIN : POLLOUT; }
};

HttpServer::HttpServer(const TcpAddress& address, bool shared, Handlers handlers)
    : listeners_(listen_on_all(address, shared)),
      stop_event_(::eventfd(0, EFD_CLOEXEC)),
      handlers_(std::move(handlers)) {
  if (!stop_event_) throw_errno("make an event descriptor");
  const auto [host, port] = own_address(listeners_.front().get());
  url_ = "http://" + host + ":" + port;
  thread_ = std::thread([this] { run(); });
}

HttpServer::~HttpServer() {
  ::eventfd_write(stop_event_.get(), 1);
  thread_.join();
}

void HttpServer::run() {
  for (;;) {
    const auto now = Clock::now();
    std::erase_if(clients_, [now](const Client& client) { return client.over || client.until <= now; });
    const bool accepts = now >= accept_again_at_;
    auto wake = accepts ? now + client_timeout : accept_again_at_;
    std::vector<pollfd> watched{{stop_event_.get(), POLLIN, 0}};
    for (const UniqueFd& listener : listeners_) watched.push_back({accepts ? listener.get() : -1, POLLIN, 0});
    for (const Client& client : clients_) {
      watched.push_back({client.fd.get(), client.awaited(), 0});
      wake = std::min(wake, client.until);
    }
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(wake - now).count();
    if (::poll(watched.data(), watched.size(), static_cast<int>(wait)) < 0 && errno != EINTR) return;
    if (watched[0].revents != 0) return;
    std::size_t next = 1 + listeners_.size();
    for (Client& client : clients_) {
      if (watched[next++].revents != 0) serve(client);
    }
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
      if (watched[1 + i].revents != 0) accept_from(listeners_[i].get());
    }
  }
}

void HttpServer::accept_from(int listener) {
  UniqueFd connection(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (connection) {
    if (clients_.size() >= max_clients) clients_.pop_front();
    clients_.push_back({std::move(connection), Clock::now() + client_timeout, {}, {}});
  } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
    // accept() would fail again at once.
    accept_again_at_ = Clock::now() + pause_without_resources;
  }
}

/// Reads a part of the request, or writes a part of the response.
void HttpServer::serve(Client& client) {
  if (!client.response.empty()) {
    const ssize_t sent =
        ::send(client.fd.get(), client.response.data(), client.response.size(), MSG_NOSIGNAL);
    if (sent < 0) client.over = true;
    client.response.erase(0, static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
    client.sent = client.response.empty();
    if (client.sent) ::shutdown(client.fd.get(), SHUT_WR);
    return;
  }
  std::array<char, 1024> part{};
  const ssize_t got = ::recv(client.fd.get(), part.data(), part.size(), 0);
  client.over = got <= 0 || client.request.size() > max_request;
  if (client.over || client.sent) return;
  client.request.append(part.data(), static_cast<std::size_t>(got));
  if (client.request.find("\r\n\r\n") != std::string::npos) client.response = response_to(client.request);
}

std::string HttpServer::response_to(const std::string& request) const try {
  const std::string line = request.substr(0, request.find("\r\n"));
  if (!line.starts_with("GET ")) return response({"only GET is answered\n", 405});
  const std::string target = line.substr(4, line.find(' ', 4) - 4);
  const auto handler = handlers_.find(target.substr(0, target.find('?')));
  if (handler != handlers_.end()) return response(handler->second());
  return response({"there is only " + handlers_.begin()->first + "\n", 404});
} catch (const std::exception& error) {
  log::warning("cannot answer an HTTP request", {{"cause", error.what()}});
  return response({"failed, see the log\n", 503});
}

}  // namespace kms
