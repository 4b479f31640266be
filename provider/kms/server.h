// Server serves KMS v2, and KMS v1 with `kms_v1`, over gRPC on a listening socket.
//
// Made, drained and destroyed by one thread (main). It owns two threads: the CallQueue's serves all calls,
// the acceptor's accepts connections. It borrows the state and the listening socket, and does not care who
// bound the socket.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <optional>

#include "common/io/fd.h"
#include "common/net/unix_listener.h"
#include "common/text/time.h"
#include "provider/core/provider_state.h"
#include "provider/kms/calls.h"
#include "provider/kms/connection_drainer.h"
#include "provider/kms/listener.h"

namespace kms::provider {

class Server {
 public:
  /// Serves no connection yet; borrows `state` and `service`. A client that connects and does not speak
  /// HTTP/2 within `handshake_timeout` (at least 1 ms) is disconnected. Throws Error.
  Server(ProviderState& state, const KmsService& service, bool kms_v1, Duration handshake_timeout);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Drains without a grace period unless drain() was called.
  ~Server() { drain(Duration{0}); }

  /// Serves a connected Unix stream socket. stop_accepting() and drain() do not end it.
  void serve_connection(UniqueFd connection);

  /// Accepts connections on `socket`, which outlives the acceptor. Call it once. The kernel opens an abstract
  /// socket to everyone, so on one of those the server refuses clients that `access` excludes.
  void accept_on(ListeningSocket& socket, const SocketAccess& access);

  /// Accepts no further connections and serves the open ones. The listening socket may be closed after it.
  void stop_accepting() { acceptor_.reset(); }

  /// Asks the clients to leave, serves them for `grace` at most and cancels the calls that are left. Without
  /// a call in flight it takes a quarter of a second at most. Returns how many calls it cut off. Nothing is
  /// served after it.
  int drain(Duration grace);

 private:
  Duration handshake_timeout_;
  ConnectionDrainer drainer_;
  CallQueue calls_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<grpc::Server> server_;
  std::optional<ConnectionAcceptor> acceptor_;
};

}  // namespace kms::provider
