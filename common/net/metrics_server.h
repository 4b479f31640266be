// MetricsServer answers GET /metrics over HTTP/1.1 on a TCP address, one client at a time.
//
// Made and destroyed by one thread; it serves on one of its own, where `text` is called for each scrape. A
// client has 5 s for its request and for taking the answer, together. It knows no other path and no secret.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "common/error.h"
#include "common/io/fd.h"

namespace kms {

/// The address that serves metrics: a host (empty: all addresses of the machine) and a port (0: any free
/// one).
struct MetricsAddress {
  std::string host;
  std::string port;

  /// Reads "HOST:PORT", ":PORT" or "[IPv6]:PORT".
  [[nodiscard]] static Outcome<MetricsAddress> parse(const std::string& text);
};

class MetricsServer {
 public:
  /// Listens at once. `shared`: beside another process of the same user that does so too. Throws Error.
  MetricsServer(const MetricsAddress& address, bool shared, std::function<std::string()> text);
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;
  ~MetricsServer();

  /// "http://127.0.0.1:9090/metrics", with the port that was taken.
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  void serve(int connection) const;
  [[nodiscard]] bool wait_for(int fd, short events, Clock::time_point until) const;

  UniqueFd listening_;
  UniqueFd stop_event_;
  std::function<std::string()> text_;
  std::string url_;
  std::thread thread_;
};

}  // namespace kms
