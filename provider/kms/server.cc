#include "provider/server/server.h"

#include <absl/synchronization/mutex.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/un.h>

#include <cstddef>
#include <optional>
#include <thread>

#include "common/net/unix_connection.h"
#include "provider/server/connection_acceptor.h"
#include "provider/server/server_call.h"

namespace kms::provider {
namespace {

/// Requests of each method that wait in gRPC for a call. One is enough to be correct; with some more, a burst
/// need not wait for the next one to be armed.
constexpr int armed_per_method = 16;

bool is_abstract(int unix_socket) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  return ::getsockname(unix_socket, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
         size > offsetof(sockaddr_un, sun_path) && address.sun_path[0] == '\0';
}

}  // namespace

std::pair<grpc::StatusCode, const char*> grpc_code(RefusalCode code) {
  switch (code) {
    case RefusalCode::invalid_argument:
      return {grpc::StatusCode::INVALID_ARGUMENT, "InvalidArgument"};
    case RefusalCode::not_found:
      return {grpc::StatusCode::NOT_FOUND, "NotFound"};
    case RefusalCode::internal:
      break;
  }
  return {grpc::StatusCode::INTERNAL, "Internal"};
}

void ServerState::meet(const FaultDecision& decision) {
  if (decision.grow_mib > 0) faults.grow(decision.grow_mib, decision.grow_max_mib);
  if (decision.drop == mock_kms::v1::Fault::GOAWAY) farewell.send_goaway();
  if (decision.drop == mock_kms::v1::Fault::RESET) farewell.cut_all();
  apply_process_faults(decision);
}

class Server::Impl {
 public:
  Impl(const KmsService& service, Faults& faults, Journal& journal, Duration handshake_timeout);
  ~Impl() { drain(Duration{0}); }

  void serve_connection(UniqueFd connection);
  void accept_on(int listening_fd, const SocketAccess& access);
  void stop_accepting() {
    if (acceptor_) acceptor_->stop();
  }
  int drain(Duration grace);

 private:
  void build(Duration handshake_timeout);
  void serve_queue();

  ServerState state_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<grpc::Server> server_;
  std::thread queue_thread_;
  std::optional<ConnectionAcceptor> acceptor_;
};

Server::Impl::Impl(const KmsService& service, Faults& faults, Journal& journal, Duration handshake_timeout)
    : state_(service, faults, journal) {
  build(handshake_timeout);
  for (int i = 0; i < armed_per_method; ++i) {
    state_.arm<StatusMethod>();
    state_.arm<EncryptMethod>();
    state_.arm<DecryptMethod>();
  }
  queue_thread_ = std::thread([this] { serve_queue(); });
}

void Server::Impl::serve_connection(UniqueFd connection) {
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.fd = connection.release();
  connections_->HandleNewConnection(&parameters);
}

void Server::Impl::accept_on(int listening_fd, const SocketAccess& access) {
  const bool asks = is_abstract(listening_fd);
  acceptor_.emplace(listening_fd, [this, asks, access](UniqueFd connection) {
    if (asks && !may_open(access, connection.get())) {
      log::warning("refused a connection: --socket-mode and --socket-owner do not let it",
                   {{"from", describe_peer(connection.get())}});
      return;
    }
    state_.farewell.add(connection.get());
    serve_connection(std::move(connection));
  });
}

void Server::Impl::build(Duration handshake_timeout) {
  // Debian's Abseil looks for deadlocks at every lock, which costs 3-4 % of the CPU here.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::ServerBuilder builder;
  // None of these serves a Unix socket with small messages; without them a call costs 5-10 % less.
  builder.AddChannelArgument(GRPC_ARG_MINIMAL_STACK, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  const auto timeout = std::chrono::ceil<std::chrono::milliseconds>(handshake_timeout).count();
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             static_cast<int>(std::min<decltype(timeout)>(timeout, 1'000'000'000)));
  builder.RegisterService(&state_.grpc_service);
  state_.queue = builder.AddCompletionQueue();
  using External = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  connections_ = builder.experimental().AddExternalConnectionAcceptor(External::FROM_FD,
                                                                      grpc::InsecureServerCredentials());
  server_ = builder.BuildAndStart();
  if (!server_) throw Error("cannot start the gRPC server");
}

void Server::Impl::serve_queue() {
  void* tag = nullptr;
  bool ok = false;
  while (state_.queue->Next(&tag, &ok)) static_cast<ServerCall*>(tag)->proceed(ok);
}

int Server::Impl::drain(Duration grace) {
  if (!queue_thread_.joinable()) return 0;
  const auto deadline = std::chrono::system_clock::now() + grace;
  stop_accepting();
  state_.farewell.say(grace, [this] { return state_.in_flight > 0; });
  state_.begin_end();
  // Who is still connected has no call, or had its grace: only calls that came this instant are waited for.
  const auto now = std::chrono::system_clock::now();
  server_->Shutdown(state_.in_flight > 0 ? std::max(deadline, now) : now);
  state_.queue->Shutdown();
  queue_thread_.join();
  return state_.cut_off;
}

Server::Server(const KmsService& service, Faults& faults, Journal& journal, Duration handshake_timeout)
    : impl_(std::make_unique<Impl>(service, faults, journal, handshake_timeout)) {}
Server::~Server() = default;
void Server::serve_connection(UniqueFd connection) { impl_->serve_connection(std::move(connection)); }
void Server::accept_on(int listening_fd, const SocketAccess& access) {
  impl_->accept_on(listening_fd, access);
}
void Server::stop_accepting() { impl_->stop_accepting(); }
int Server::drain(Duration grace) { return impl_->drain(grace); }

}  // namespace kms::provider
