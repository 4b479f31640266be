// Socket is a TCP connection for small requests over git://: no Nagle, and it can be cancelled.
//
// Used on the fetching thread. A Socket counts received bytes in the meter and gives up with ECANCELED when
// the meter says so. It has no time-outs: the watching thread cancels. Writing to a closed connection is
// EPIPE, no signal.
#pragma once

#include <netdb.h>
#include <sys/types.h>

#include <cstddef>

#include "builder/source/fetch.h"
#include "builder/source/proxy.h"
#include "common/io/fd.h"

namespace kms::builder {

class Socket {
 public:
  explicit Socket(FetchMeter& meter) : meter_(meter) {}

  /// Tries all addresses of the host in turn.
  [[nodiscard]] Outcome<> connect(const HostAndPort& to);

  /// Reads at least one byte. 0 at the end, -1 with errno on failure.
  [[nodiscard]] ssize_t read(char* into, std::size_t size);

  /// Writes some of the bytes. -1 with errno on failure.
  [[nodiscard]] ssize_t write(const char* bytes, std::size_t size);

 private:
  [[nodiscard]] bool wait(short events) const;
  [[nodiscard]] int connect_to(const addrinfo& address);

  FetchMeter& meter_;
  UniqueFd fd_;
};

}  // namespace kms::builder
