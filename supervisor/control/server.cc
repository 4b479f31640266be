#include "supervisor/control/server.h"

#include <fcntl.h>
#include <grpcpp/health_check_service_interface.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/post.hpp>
#include <mutex>
#include <utility>

#include "common/error.h"
#include "common/log/log.h"
#include "common/net/unix_connection.h"

namespace kms::supervisor {
namespace {

constexpr int patience_milliseconds = 5000;  ///< with a client that does not begin to speak
constexpr int max_calls = 16;                ///< at once on one connection
constexpr int max_message = 8 * 1024;        ///< bytes of a request, or of its metadata
constexpr int accepted_at_once = 16;

int duplicate(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw_errno("watch the control socket");
  return copy;
}

}  // namespace

class ControlServer::Service final : public mock_kms::v1::SupervisorControl::CallbackService {
 public:
  Service(asio::io_context& loop, ControlHandler& handler, const ControlPeers& peers)
      : loop_(loop), handler_(handler), peers_(peers) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const mock_kms::v1::GetStatusRequest* request,
                                      mock_kms::v1::SupervisorStatus* status) override {
    const unsigned instance = request->instance();
    return on_the_loop(context, instance, [this, instance, status](auto* reactor) {
      handler_.status(instance, *status, [reactor] { reactor->Finish(grpc::Status::OK); });
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

  /// From now on nothing more is posted.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }

 private:
  /// Hands the call to `work` there, unless it names an instance that there is not.
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
  const ControlPeers& peers_;
  std::mutex mutex_;
  bool closed_ = false;
};

ControlServer::ControlServer(asio::io_context& loop, UnixListener listener, ControlHandler& handler)
    : loop_(loop),
      listener_(std::move(listener)),
      readable_(loop, duplicate(listener_.fd())),
      pause_(loop),
      service_(std::make_unique<Service>(loop, handler, peers_)) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  acceptor_ =
      builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD, grpc::InsecureServerCredentials());
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, patience_milliseconds);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, max_calls);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, max_message);
  builder.SetMaxReceiveMessageSize(max_message);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  if (!server_) throw Error("cannot serve on " + listener_.endpoint().uri());
  set_serving("", false);
  accept_next();
}

/// gRPC would tell those who watch of a state that is the one before.
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

/// A few at a time, so that a flood of connections keeps nothing else on the loop waiting.
void ControlServer::accept_some() {
  for (int turn = 0; turn < accepted_at_once; ++turn) {
    UniqueFd connection(::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
      pause_.expires_after(std::chrono::milliseconds(100));
      pause_.async_wait([this](const asio::error_code& stopped) {
        if (!stopped) accept_next();
      });
      return;
    }
    if (!connection) break;
    if (!peers_.admit(connection.get())) continue;
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = connection.release();
    parameters.listener_fd = listener_.fd();
    acceptor_->HandleNewConnection(&parameters);
  }
  accept_next();
}

}  // namespace kms::supervisor
