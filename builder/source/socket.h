// Socket is a TCP connection for small requests that somebody waits for: no Nagle, and it can be cancelled.
//
// Used on the fetching thread. It counts what comes into the meter and gives up, with ECANCELED, when the
// meter says so; time-outs are left to who watches the meter. Writing to a closed connection is EPIPE, no
// signal.
#pragma once

#include <netdb.h>
#include <sys/types.h>

#include <cstddef>
#include <string>

#include "builder/source/meter.h"
#include "common/io/fd.h"

namespace kms::builder {

class Socket {
 public:
  explicit Socket(FetchMeter& meter) : meter_(meter) {}

  /// Tries all addresses of the host in turn. "" where it is connected, else the cause.
  [[nodiscard]] std::string connect(const std::string& host, const std::string& port);

  /// What has come, at least one byte; 0 at the end, -1 with errno on failure.
  [[nodiscard]] ssize_t read(char* into, std::size_t size);

  /// Some of the bytes or -1 with errno.
  [[nodiscard]] ssize_t write(const char* bytes, std::size_t size);

  void close() { fd_.reset(); }

 private:
  [[nodiscard]] bool wait(short events) const;
  [[nodiscard]] int connect_to(const addrinfo& address);

  FetchMeter& meter_;
  UniqueFd fd_;
};

}  // namespace kms::builder
