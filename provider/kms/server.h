// Server answers KMS v2 over gRPC on a listening socket: the one place that knows both gRPC and the service.
//
// Made, drained and destroyed by one thread (main). It owns two threads: one serves all calls from one
// completion queue (more calls per CPU second than gRPC's sync server, see docs/benchmarks.md), one accepts.
// It borrows the service, the faults (which calls on every connection meet), the journal (which remembers
// each call) and the listening socket; whose socket that is and how it came to listen is not its concern.
#pragma once

#include <memory>

#include "common/io/fd.h"
#include "common/net/unix_listener.h"
#include "common/text/time.h"
#include "provider/faults/faults.h"
#include "provider/journal/journal.h"
#include "provider/server/kms_service.h"

namespace kms::provider {

class Server {
 public:
  /// Ready to serve, on no connection yet. A client that connects and does not speak HTTP/2 within
  /// `handshake_timeout` (1 ms or more) is disconnected.
  Server(const KmsService& service, Faults& faults, Journal& journal, Duration handshake_timeout);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Drains with no grace where drain() was not called.
  ~Server();

  /// Serves one connection that is there already, a Unix stream socket; stop_accepting() and drain() leave it
  /// be.
  void serve_connection(UniqueFd connection);

  /// Accepts from now on, on a non-blocking listening Unix socket. Once. Of an abstract one, which the kernel
  /// opens to everyone, only those are served whom `access` lets.
  void accept_on(int listening_fd, const SocketAccess& access);

  /// Takes no further connections; the open ones are served on. The listening socket may be closed after it.
  void stop_accepting();

  /// Tells the clients to go, serves them until they have gone, for `grace` at most, and cancels what is left
  /// then; without a call in flight it takes a quarter of a second at most. Returns how many calls were cut
  /// off. Nothing is served after it.
  int drain(Duration grace);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kms::provider
