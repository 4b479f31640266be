#include "supervisor/control/server.h"

#include <fcntl.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_posix.h>
#include <grpcpp/support/server_interceptor.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <asio/post.hpp>
#include <chrono>
#include <deque>
#include <filesystem>
#include <mutex>
#include <utility>

#include "common/error.h"
#include "common/log/log.h"
#include "common/net/unix_connection.h"
#include "proto/supervisor_control.grpc.pb.h"

namespace kms::supervisor {
namespace {

constexpr auto idle_timeout = std::chrono::seconds(5);
constexpr int max_calls = 16;          ///< at once on one connection
constexpr int max_message = 8 * 1024;  ///< bytes of a request, or of its metadata
constexpr int max_accepted_at_once = 16;
/// Some descriptors are left for the plugin's processes.
std::size_t max_connections() {
  constexpr rlim_t enough = 64;
  rlimit files{};
  return ::getrlimit(RLIMIT_NOFILE, &files) == 0 ? std::min(enough, files.rlim_cur / 4) : enough;
}

constexpr auto socket_check_interval = std::chrono::seconds(1);

int duplicate(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw_errno("watch the control socket");
  return copy;
}

ino_t inode_of(int fd) {
  struct stat file {};
  return ::fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode) ? file.st_ino : 0;
}

/// "root (uid 0, pid 42, supervisor)".
std::string name_of_peer(int fd) {
  const auto peer = peer_of(fd);
  if (!peer) return "unknown";
  const passwd* user = ::getpwuid(peer->uid);
  std::string process = describe_peer(fd);  // "pid 42 (supervisor)"
  std::erase(process, ')');
  if (const std::size_t name = process.find(" ("); name != std::string::npos) process.replace(name, 2, ", ");
  return (user == nullptr ? "someone" : user->pw_name) + std::string(" (uid ") + std::to_string(peer->uid) +
         ", " + process + ")";
}

std::int64_t seconds_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// A failing environment is an error too: the next check tries again.
Outcome<UnixListener> try_claim(const Endpoint& control) try {
  return ControlServer::claim(control);
} catch (const Error& error) {
  return error;
}

}  // namespace

/// Identifies the process at the other end of each connection, and limits the number of connections.
///
/// admit() is called on the loop's thread, the others on gRPC's. The kernel knows the process behind a
/// connection (SO_PEERCRED). gRPC names a connection by its descriptor.
class ControlServer::Peers {
 public:
  struct Connection {
    int fd;
    ino_t inode;  ///< shows whether `fd` is still this connection
    std::string name;
    int calls = 0;  ///< in flight
    std::chrono::steady_clock::time_point idle_since = std::chrono::steady_clock::now();
  };

  /// True if to serve an accepted connection: it is this user's or root's, and there is room for it.
  [[nodiscard]] bool admit(int fd) {
    const std::lock_guard lock(mutex_);
    if (!peer_is_self_or_root(fd)) {
      warn("refused a connection to the control socket: it belongs to another user", fd);
      return false;
    }
    std::erase_if(connections_, [](const auto& c) { return inode_of(c->fd) != c->inode; });  // closed ones
    if (connections_.size() >= max_connections_ && !close_idle()) {
      warn("refused a connection to the control socket: there are " + std::to_string(max_connections_) +
               " with calls in flight",
           fd);
      return false;
    }
    connections_.push_back(std::make_shared<Connection>(Connection{fd, inode_of(fd), name_of_peer(fd)}));
    return true;
  }

  /// "root (uid 0, pid 42, supervisor)".
  [[nodiscard]] std::string name_of(const std::string& grpc_peer) const {
    const std::lock_guard lock(mutex_);
    const auto found = find(grpc_peer);
    return found ? found->name : "an unknown client";
  }

  /// Returns the connection for end_call(); nullptr if it is closed already.
  [[nodiscard]] std::shared_ptr<Connection> begin_call(const std::string& grpc_peer) {
    const std::lock_guard lock(mutex_);
    auto connection = find(grpc_peer);
    if (connection) ++connection->calls;
    return connection;
  }

  void end_call(const std::shared_ptr<Connection>& connection) {
    const std::lock_guard lock(mutex_);
    if (!connection) return;
    --connection->calls;
    connection->idle_since = std::chrono::steady_clock::now();
  }

 private:
  /// The newest: a number is free again once its connection is closed.
  [[nodiscard]] std::shared_ptr<Connection> find(const std::string& grpc_peer) const {
    const auto found = std::find_if(connections_.rbegin(), connections_.rend(), [&](const auto& c) {
      return grpc_peer == "fd:" + std::to_string(c->fd);
    });
    return found == connections_.rend() ? nullptr : *found;
  }

  /// Closes the connection that has had no call for the longest time. False if all have one.
  bool close_idle() {
    auto chosen = connections_.end();
    for (auto each = connections_.begin(); each != connections_.end(); ++each) {
      if ((*each)->calls > 0) continue;
      if (chosen == connections_.end() || (*each)->idle_since < (*chosen)->idle_since) chosen = each;
    }
    if (chosen == connections_.end()) return false;
    // gRPC may close the descriptor at any time, and its number may become another file's.
    const UniqueFd copy(::fcntl((*chosen)->fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) return false;
    if (inode_of(copy.get()) == (*chosen)->inode) {
      warn("closed an idle connection to the control socket: there are " + std::to_string(max_connections_) +
               " already",
           copy.get());
      ::shutdown(copy.get(), SHUT_RDWR);
    }
    connections_.erase(chosen);
    return true;
  }

  /// At most one line a second.
  void warn(const std::string& text, int fd) {
    ++unreported_;
    if (seconds_now() == logged_at_) return;
    logged_at_ = seconds_now();
    log::warning(text, {{"from", name_of_peer(fd)}, {"connections", std::exchange(unreported_, 0)}});
  }

  const std::size_t max_connections_ = max_connections();
  mutable std::mutex mutex_;  ///< guards all below
  std::deque<std::shared_ptr<Connection>> connections_;
  std::uint64_t unreported_ = 0;  ///< refused or closed since the last line about it
  std::int64_t logged_at_ = 0;    ///< second of the steady clock
};

/// Lives as long as a call, and keeps its connection. Also sees the calls of grpc.health.v1.
class ControlServer::CallInFlight final : public grpc::experimental::Interceptor {
 public:
  class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
   public:
    explicit Factory(Peers& peers) : peers_(peers) {}
    grpc::experimental::Interceptor* CreateServerInterceptor(
        grpc::experimental::ServerRpcInfo* call) override {
      return new CallInFlight(peers_, call->server_context()->peer());
    }

   private:
    Peers& peers_;
  };

  CallInFlight(Peers& peers, const std::string& grpc_peer)
      : peers_(peers), connection_(peers.begin_call(grpc_peer)) {}
  CallInFlight(const CallInFlight&) = delete;
  CallInFlight& operator=(const CallInFlight&) = delete;
  ~CallInFlight() override { peers_.end_call(connection_); }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override { methods->Proceed(); }

 private:
  Peers& peers_;
  std::shared_ptr<Peers::Connection> connection_;
};

Outcome<UnixListener> ControlServer::claim(const Endpoint& control) {
  const auto parent = std::filesystem::path(control.name()).parent_path();
  std::error_code error;
  if (!control.abstract() && !std::filesystem::exists(parent, error)) {
    std::filesystem::create_directories(parent.parent_path(), error);
    if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST)
      throw_errno("make directory " + parent.string(), "choose another --control-socket");
  }
  return UnixListener::claim(control);
}

class ControlServer::Service final : public mock_kms::v1::SupervisorControl::CallbackService {
 public:
  Service(asio::io_context& loop, ControlHandler& handler, const Peers& peers)
      : loop_(loop), handler_(handler), peers_(peers) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const mock_kms::v1::GetStatusRequest* request,
                                      mock_kms::v1::SupervisorStatus* status) override {
    const unsigned instance = request->instance();
    const bool with_binary = !request->without_binary();
    return on_the_loop(context, instance, [this, instance, with_binary, status](auto* reactor) {
      handler_.status(instance, with_binary, *status, [reactor] { reactor->Finish(grpc::Status::OK); });
    });
  }
  grpc::ServerUnaryReactor* Restart(grpc::CallbackServerContext* context,
                                    const mock_kms::v1::CommandRequest* request,
                                    mock_kms::v1::CommandReply*) override {
    return execute(context, request->instance(), ControlCommand::restart);
  }
  grpc::ServerUnaryReactor* Pause(grpc::CallbackServerContext* context,
                                  const mock_kms::v1::CommandRequest* request,
                                  mock_kms::v1::CommandReply*) override {
    return execute(context, request->instance(), ControlCommand::pause);
  }
  grpc::ServerUnaryReactor* Resume(grpc::CallbackServerContext* context,
                                   const mock_kms::v1::CommandRequest* request,
                                   mock_kms::v1::CommandReply*) override {
    return execute(context, request->instance(), ControlCommand::resume);
  }
  grpc::ServerUnaryReactor* ReadEvents(grpc::CallbackServerContext* context,
                                       const mock_kms::v1::ReadEventsRequest* request,
                                       mock_kms::v1::EventPage* page) override {
    return on_the_loop(context, request->instance(), [this, request = *request, page](auto* reactor) {
      handler_.events(request.after(), request.instance(), *page);
      reactor->Finish(grpc::Status::OK);
    });
  }
  grpc::ServerUnaryReactor* ReadOutput(grpc::CallbackServerContext* context,
                                       const mock_kms::v1::ReadOutputRequest* request,
                                       mock_kms::v1::OutputPage* page) override {
    return on_the_loop(context, request->instance(), [this, request = *request, page](auto* reactor) {
      handler_.output(request.after(), request.instance(), *page);
      reactor->Finish(grpc::Status::OK);
    });
  }

  grpc::ServerUnaryReactor* ReadMetrics(grpc::CallbackServerContext* context,
                                        const mock_kms::v1::ReadMetricsRequest*,
                                        mock_kms::v1::MetricsReply* reply) override {
    return on_the_loop(context, 0, [this, reply](auto* reactor) {
      reply->set_text(handler_.metrics());
      reactor->Finish(grpc::Status::OK);
    });
  }

  /// Calls that come later get UNAVAILABLE.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }

 private:
  /// Posts `work`, which answers the call. A call for an unknown instance fails.
  template <class Work>
  grpc::ServerUnaryReactor* on_the_loop(grpc::CallbackServerContext* context, unsigned instance, Work work) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const std::lock_guard lock(mutex_);
    if (closed_) {
      reactor->Finish({grpc::StatusCode::UNAVAILABLE, "the supervisor is ending"});
    } else {
      asio::post(loop_, [this, reactor, instance, work = std::move(work)] {
        if (handler_.has(instance)) return work(reactor);
        reactor->Finish(
            {grpc::StatusCode::INVALID_ARGUMENT, "there is no instance " + std::to_string(instance)});
      });
    }
    return reactor;
  }

  grpc::ServerUnaryReactor* execute(grpc::CallbackServerContext* context, unsigned instance,
                                    ControlCommand command) {
    const std::string who = peers_.name_of(context->peer());
    return on_the_loop(context, instance, [this, instance, command, who](auto* reactor) {
      handler_.execute(command, instance, who, [reactor](const Outcome<>& outcome) {
        reactor->Finish(outcome
                            ? grpc::Status::OK
                            : grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, outcome.error().cause()));
      });
    });
  }

  asio::io_context& loop_;
  ControlHandler& handler_;
  const Peers& peers_;
  std::mutex mutex_;
  bool closed_ = false;
};

ControlServer::ControlServer(asio::io_context& loop, UnixListener listener, ControlHandler& handler)
    : loop_(loop),
      listener_(std::move(listener)),
      readable_(loop, duplicate(listener_->fd())),
      pause_(loop),
      check_timer_(loop),
      peers_(std::make_unique<Peers>()),
      service_(std::make_unique<Service>(loop, handler, *peers_)) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<CallInFlight::Factory>(*peers_));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, max_calls);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, max_message);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);  // clients may ping as often as they like
  builder.SetMaxReceiveMessageSize(max_message);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  if (!server_) throw Error("cannot serve on " + listener_->endpoint().uri());
  set_serving("", false);
  accept_next();
  if (!listener_->endpoint().abstract()) check_socket_later();
}

void ControlServer::check_socket_later() {
  check_timer_.expires_after(socket_check_interval);
  check_timer_.async_wait([this](const asio::error_code& stopped) {
    if (!stopped) check_socket();
  });
}

/// Binds a socket that was removed or replaced again. A live process that holds the path keeps it.
void ControlServer::check_socket() {
  check_socket_later();
  if (listener_->in_place()) return;
  const Endpoint endpoint = listener_->endpoint();
  auto claimed = try_claim(endpoint);
  if (!claimed) {
    if (std::exchange(bind_failure_, claimed.error().line()) != claimed.error().line())
      log::warning("the control socket was removed", {{"cause", claimed.error().line()}});
    return;
  }
  log::warning("the control socket was removed; it is bound again", {{"control-socket", endpoint.uri()}});
  bind_failure_.clear();
  listener_.emplace(*std::move(claimed));
  readable_ = asio::posix::stream_descriptor(loop_, duplicate(listener_->fd()));
  accept_next();
}

/// gRPC sends a state to all watchers even if it has not changed.
void ControlServer::set_serving(const std::string& service, bool serving) {
  const auto [known, is_new] = serving_.try_emplace(service, serving);
  if (!is_new && std::exchange(known->second, serving) == serving) return;
  server_->GetHealthCheckService()->SetServingStatus(service, serving);
}

ControlServer::~ControlServer() {
  service_->close();
  loop_.restart();
  loop_.poll();
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
}

void ControlServer::accept_next() {
  readable_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (error) return;
    accept_some();
  });
}

/// A few at a time, so that a flood of connections does not block the loop.
void ControlServer::accept_some() {
  for (int i = 0; i < max_accepted_at_once; ++i) {
    UniqueFd connection(::accept4(listener_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
      pause_.expires_after(std::chrono::milliseconds(100));
      pause_.async_wait([this](const asio::error_code& stopped) {
        if (!stopped) accept_next();
      });
      return;
    }
    if (!connection) break;
    if (peers_->admit(connection.get())) serve_once_it_speaks(std::move(connection));
  }
  accept_next();
}

/// gRPC's own timeout for this waits for a time of the wall clock, which may be set back.
void ControlServer::serve_once_it_speaks(UniqueFd connection) {
  struct Silent {
    asio::posix::stream_descriptor connection;
    asio::steady_timer timeout;
  };
  const auto silent = std::make_shared<Silent>(asio::posix::stream_descriptor(loop_, connection.release()),
                                               asio::steady_timer(loop_, idle_timeout));
  silent->timeout.async_wait([silent](const asio::error_code& stopped) {
    if (!stopped) silent->connection.close();
  });
  silent->connection.async_wait(
      asio::posix::stream_descriptor::wait_read, [this, silent](const asio::error_code& closed) {
        silent->timeout.cancel();
        char byte = 0;
        if (!closed && ::recv(silent->connection.native_handle(), &byte, 1, MSG_PEEK) == 1)
          grpc::AddInsecureChannelFromFd(server_.get(), silent->connection.release());
      });
}

}  // namespace kms::supervisor
