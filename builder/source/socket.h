// Socket is a TCP connection for small requests: no Nagle, and it can be cancelled. use_own_sockets() makes
// libgit2 use it for http, and below its own TLS for https.
//
// Used on the fetching thread. A Socket counts received bytes in the meter and gives up with ECANCELED when
// the meter says so. It has no time-outs: the watching thread cancels. Writing to a closed connection is
// EPIPE, no signal.
#pragma once

#include <netdb.h>
#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>

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

  void close() { fd_.reset(); }

 private:
  [[nodiscard]] bool wait(short events) const;
  [[nodiscard]] int connect_to(const addrinfo& address);

  FetchMeter& meter_;
  UniqueFd fd_;
};

/// libgit2's connections made on this thread are Sockets from now on. `meter` outlives them. All of them go
/// to `detour` if there is one: libgit2 1.5 writes requests for a plain http proxy and then sends them to the
/// server itself (transports/httpclient.c, server_connect).
///
/// libgit2 keeps one registration per process: the thread that is about to fetch makes it.
void use_own_sockets(FetchMeter& meter, std::optional<HostAndPort> detour);

/// The seconds to wait by the Retry-After header of an HTTP answer (RFC 9110, 10.2.3), a number or a date; 0
/// if there is none. `now` is in seconds since 1970.
[[nodiscard]] std::int64_t retry_after(std::string_view answer, std::int64_t now);

/// libgit2's own streams again. ssh needs them: libgit2's ssh transport reaches into the structure of its own
/// stream (transports/ssh.c).
void use_stock_sockets();

/// The destination of this thread's latest connection by libgit2, before any detour.
[[nodiscard]] const HostAndPort& last_connected();

}  // namespace kms::builder
