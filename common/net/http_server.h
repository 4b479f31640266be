// HttpServer answers GET requests for a few fixed paths over HTTP/1.1 on a TCP address: metrics and health.
//
// Made and destroyed by one thread; it serves on a thread of its own, where the handlers run. It serves its
// clients side by side: a silent one delays no other. A client has 5 s for its request and for taking the
// answer, together. If there are too many clients, the oldest is dropped. Nothing it serves is secret.
#pragma once

#include <poll.h>

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "common/error.h"
#include "common/io/fd.h"

namespace kms {

/// A host (empty: all addresses of the machine, IPv4 and IPv6) and a port (0: any free port).
struct TcpAddress {
  std::string host;
  std::string port;

  /// Reads "HOST:PORT", ":PORT" or "[IPv6]:PORT".
  [[nodiscard]] static Outcome<TcpAddress> parse(const std::string& text);
};

struct HttpResponse {
  std::string body;
  int status = 200;
};

class HttpServer {
 public:
  /// The function that answers GET, by path ("/metrics").
  using Handlers = std::map<std::string, std::function<HttpResponse()>>;

  static constexpr std::size_t max_clients = 64;

  /// Listens at once. `shared`: another process of the same user may listen there too. Throws Error.
  HttpServer(const TcpAddress& address, bool shared, Handlers handlers);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  /// "http://127.0.0.1:9090", with the actual port.
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Client;

  void run();
  void accept_from(int listener);
  void serve(Client& client);
  [[nodiscard]] std::string response_to(const std::string& request) const;

  std::vector<UniqueFd> listeners_;
  UniqueFd stop_event_;
  Handlers handlers_;
  std::string url_;
  std::list<Client> clients_;  ///< oldest first
  Clock::time_point accept_again_at_;
  std::thread thread_;
};

}  // namespace kms
