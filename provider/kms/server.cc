#include "provider/kms/server.h"

#include <absl/synchronization/mutex.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <thread>
#include <utility>

#include "common/log/log.h"
#include "common/net/timed_action.h"
#include "common/net/unix_connection.h"

namespace kms::provider {
namespace {

constexpr Duration max_handshake_timeout = std::chrono::hours(240);  ///< gRPC counts milliseconds in an int
constexpr auto busy_poll_interval = std::chrono::milliseconds(1);

bool is_abstract(int unix_socket) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  return ::getsockname(unix_socket, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
         size > offsetof(sockaddr_un, sun_path) && address.sun_path[0] == '\0';
}

/// None of the features that are switched off helps a Unix socket with small messages; without them a call
/// costs 5-10 % less. The minimal stack neither inflates requests nor limits their size;
/// kms/request_bytes.cc does.
void set_channel_arguments(grpc::ServerBuilder& builder, Duration handshake_timeout) {
  builder.AddChannelArgument(GRPC_ARG_MINIMAL_STACK, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);  // clients may ping as often as they like
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  const auto timeout = std::chrono::ceil<std::chrono::milliseconds>(handshake_timeout).count();
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, static_cast<int>(timeout));
}

}  // namespace

Server::Server(ProviderState& state, const KmsService& service, bool kms_v1, Duration handshake_timeout)
    : handshake_timeout_(std::min(handshake_timeout, max_handshake_timeout)),
      calls_(state, service, kms_v1, drainer_) {
  // Debian's Abseil looks for deadlocks at every lock, which costs 3-4 % of the CPU here.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::ServerBuilder builder;
  set_channel_arguments(builder, handshake_timeout_);
  calls_.add_to(builder);
  using External = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  connections_ = builder.experimental().AddExternalConnectionAcceptor(External::FROM_FD,
                                                                      grpc::InsecureServerCredentials());
  server_ = builder.BuildAndStart();
  if (!server_) throw Error("cannot start the gRPC server");
  calls_.start();
}

void Server::serve_connection(UniqueFd connection) {
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.fd = connection.release();
  connections_->HandleNewConnection(&parameters);
}

void Server::accept_on(ListeningSocket& socket, const SocketAccess& access) {
  const bool check_access = is_abstract(socket.fd());
  const auto admit = [check_access, access](int connection) {
    if (!check_access || may_open(access, connection)) return true;
    log::warning("refused a connection: --socket-mode and --socket-owner exclude it",
                 {{"from", describe_peer(connection)}});
    return false;
  };
  const auto take = [this](UniqueFd connection) {
    drainer_.add(connection.get());
    serve_connection(std::move(connection));
  };
  acceptor_.emplace(socket.fd(), handshake_timeout_, admit, take, socket.own());
}

int Server::drain(Duration grace) {
  if (!server_) return 0;
  const auto deadline = SteadyClock::now() + grace;
  stop_accepting();
  drainer_.drain(grace, [this] { return calls_.busy(); });
  calls_.close();
  // A client that is still connected has no call, or had its grace. Only calls that came this instant are
  // waited for, here: gRPC's own wait depends on the wall clock.
  while (calls_.busy() && SteadyClock::now() < deadline) std::this_thread::sleep_for(busy_poll_interval);
  server_->Shutdown(std::chrono::system_clock::now());
  const int cut_off = calls_.finish();
  server_.reset();
  return cut_off;
}

}  // namespace kms::provider
