#include "provider/control/control_server.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "common/log/log.h"
#include "common/net/unix_connection.h"
#include "provider/control/control_service.h"
#include "provider/server/connection_acceptor.h"

namespace kms::provider {

class ControlServer::Impl {
 public:
  Impl(UnixListener listener, Controlled controlled)
      : listener_(std::move(listener)),
        service_(controlled),
        acceptor_(listener_.fd(), [this](UniqueFd connection) { take(std::move(connection)); }) {}

  ~Impl() {
    acceptor_.stop();
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }

 private:
  void take(UniqueFd connection) {
    if (!peer_is_self_or_root(connection.get())) {
      log::warning("refused a connection to the control socket", {{"from", describe_peer(connection.get())}});
      return;
    }
    if (!server_) build();
    if (!server_) return;
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = connection.release();
    connections_->HandleNewConnection(&parameters);
  }

  void build() {
    grpc::ServerBuilder builder;
    using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
    connections_ = builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD,
                                                                        grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (!server_) log::error("cannot serve on " + listener_.endpoint().uri());
  }

  UnixListener listener_;
  ControlService service_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<grpc::Server> server_;  ///< made by the acceptor's thread
  ConnectionAcceptor acceptor_;
};

ControlServer::ControlServer(UnixListener listener, Controlled controlled)
    : impl_(std::make_unique<Impl>(std::move(listener), controlled)) {}
ControlServer::~ControlServer() = default;

}  // namespace kms::provider
