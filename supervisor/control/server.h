// ControlServer answers `supervisor status` and the other commands on the control socket, and grpc.health.v1.
//
// Owned by the loop. gRPC's threads receive the calls and post each to the loop, which alone knows the
// answers. Connections of other users are closed unread (root's are welcome), and so are those beyond a
// number; ones that say nothing end after seconds, and no message is longer than a few KiB.
#pragma once

#include <grpcpp/server_builder.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <string>

#include "common/net/unix_listener.h"
#include "proto/supervisor_control.grpc.pb.h"
#include "supervisor/control/handler.h"
#include "supervisor/control/peers.h"

namespace kms::supervisor {

class ControlServer {
 public:
  ControlServer(asio::io_context& loop, UnixListener listener, ControlHandler& handler);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// Answers what is still queued in the loop, then ends within a second. On the loop's thread, after its
  /// run().
  ~ControlServer();

  /// What grpc.health.v1 answers for `service` from now on; "" is the supervisor as a whole.
  void set_serving(const std::string& service, bool serving);

 private:
  class Service;

  void accept_next();
  void accept_some();

  asio::io_context& loop_;
  UnixListener listener_;
  asio::posix::stream_descriptor readable_;
  asio::steady_timer pause_;
  ControlPeers peers_;
  std::map<std::string, bool> serving_;  ///< what grpc.health.v1 says, by service
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace kms::supervisor
