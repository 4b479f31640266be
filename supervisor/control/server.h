// ControlServer serves the supervisor's control service and grpc.health.v1 on the control socket.
//
// Owned by the Supervisor and used on the loop's thread. It uses gRPC's callback API: gRPC's threads receive
// the calls and post each to the loop, where the ControlHandler answers it. It serves its own user and root
// only, and limits connections, calls and message sizes. It closes a connection that sends nothing, and the
// idlest one to make room for another. It binds the socket again if it is removed or its directory is
// recreated.
#pragma once

#include <grpcpp/server_builder.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/io/fd.h"
#include "common/net/unix_listener.h"
#include "supervisor/control/handler.h"

namespace kms::supervisor {

class ControlServer {
 public:
  /// Claims the control socket. Makes its directory, accessible to this user only, if it is missing.
  [[nodiscard]] static Outcome<UnixListener> claim(const Endpoint& control);

  ControlServer(asio::io_context& loop, UnixListener listener, ControlHandler& handler);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// Answers the calls that are queued in the loop, then ends within a second. Call it after the loop's
  /// run().
  ~ControlServer();

  /// Sets what grpc.health.v1 answers for `service`; "" is the whole supervisor.
  void set_serving(const std::string& service, bool serving);

 private:
  class Peers;
  class CallInFlight;
  class Service;

  void accept_next();
  void accept_some();
  void serve_once_it_speaks(UniqueFd connection);
  void check_socket_later();
  void check_socket();

  asio::io_context& loop_;
  std::optional<UnixListener> listener_;
  asio::posix::stream_descriptor readable_;
  asio::steady_timer pause_;
  asio::steady_timer check_timer_;
  std::string bind_failure_;             ///< logged already
  std::map<std::string, bool> serving_;  ///< by service
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace kms::supervisor
