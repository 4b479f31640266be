#include "supervisor/control/client.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>

#include <cerrno>

#include "common/cli/exit_code.h"
#include "common/net/grpc_status.h"
#include "common/net/unix_connection.h"

namespace kms::supervisor {
namespace {

/// What connect(2) says of the socket: it names the cause better than gRPC, which says "failed to connect" to
/// all.
Error obstacle(const Endpoint& control, int error) {
  const std::string cause = "cannot reach a supervisor on " + control.uri() + ": " + errno_text(error);
  if (error == EACCES) return {cause, "run as the supervisor's user or as root"};
  if (error == ECONNREFUSED) return {cause, "the supervisor that made this socket is dead; start it again"};
  return {cause, "start one with 'supervisor run', or name its socket with --control-socket"};
}

}  // namespace

/// The connection has a name, by which the supervisor knows who asks (peers.h).
std::optional<NoAnswer> ControlClient::call(Duration timeout, const Call& call) const {
  UniqueFd connection = connect_by_name(control_);
  if (!connection) return NoAnswer{obstacle(control_, errno), exit_code::unreachable};
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  const auto stub = mock_kms::v1::SupervisorControl::NewStub(
      grpc::CreateCustomInsecureChannelFromFd("supervisor", connection.release(), arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  const grpc::Status status = call(*stub, context);
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return std::nullopt;
    case grpc::StatusCode::INVALID_ARGUMENT:
      return NoAnswer{{status.error_message(), "'supervisor status' lists them"}, exit_code::usage};
    case grpc::StatusCode::FAILED_PRECONDITION:
      return NoAnswer{{status.error_message(), "see 'supervisor status'"}, exit_code::failed};
    default:
      return NoAnswer{{"cannot reach a supervisor on " + control_.uri() + ": " + describe(status),
                       "it is ending or does not answer; try again, then look at its log"},
                      exit_code::unreachable};
  }
}

template <class Answer, class Request>
Reply<Answer> ControlClient::read(Duration timeout, const Request& request,
                                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                               Answer*)) const {
  Answer answer;
  auto none = call(timeout, [&](Stub& stub, grpc::ClientContext& context) {
    return (stub.*method)(&context, request, &answer);
  });
  if (none) return *std::move(none);
  return answer;
}

Reply<mock_kms::v1::SupervisorStatus> ControlClient::ask(Duration timeout) const {
  mock_kms::v1::GetStatusRequest request;
  request.set_instance(instance_);
  return read(timeout, request, &Stub::GetStatus);
}

Reply<mock_kms::v1::EventPage> ControlClient::events(std::uint64_t after, Duration timeout) const {
  mock_kms::v1::ReadEventsRequest request;
  request.set_after(after);
  request.set_instance(instance_);
  return read(timeout, request, &Stub::ReadEvents);
}

Reply<mock_kms::v1::OutputPage> ControlClient::output(std::uint64_t after, Duration timeout) const {
  mock_kms::v1::ReadOutputRequest request;
  request.set_after(after);
  request.set_instance(instance_);
  return read(timeout, request, &Stub::ReadOutput);
}

Reply<mock_kms::v1::MetricsReply> ControlClient::metrics(Duration timeout) const {
  return read(timeout, mock_kms::v1::ReadMetricsRequest(), &Stub::ReadMetrics);
}

std::optional<NoAnswer> ControlClient::tell(ControlCommand command, Duration timeout) const {
  mock_kms::v1::CommandRequest request;
  request.set_instance(instance_);
  return call(timeout, [&](Stub& stub, grpc::ClientContext& context) {
    mock_kms::v1::CommandReply reply;
    grpc::Status status = command == ControlCommand::restart ? stub.Restart(&context, request, &reply)
                          : command == ControlCommand::pause ? stub.Pause(&context, request, &reply)
                                                             : stub.Resume(&context, request, &reply);
    if (status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) return status;
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION,
                        "it is not done after " + go_duration(timeout) + ", and may still be");
  });
}

}  // namespace kms::supervisor
