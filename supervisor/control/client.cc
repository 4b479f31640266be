#include "supervisor/control/client.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>

#include <cerrno>

#include "common/net/call_deadline.h"
#include "common/net/grpc_status.h"
#include "common/net/unix_connection.h"
#include "common/process/startup.h"

namespace kms::supervisor {
namespace {

Error no_answer(const Endpoint& control, const std::string& cause) {
  return {"cannot reach a supervisor on " + control.uri() + ": " + cause,
          "it is ending or does not answer; try again, then look at its log", ErrorCode::unreachable};
}

template <class Request>
Request request_for(unsigned instance) {
  Request request;
  request.set_instance(instance);
  return request;
}

/// By convention the names of supervisors' control sockets contain "supervisor"; their other sockets are the
/// plugins'.
std::string other_supervisors() {
  std::string text;
  for (const Endpoint& socket : listening_sockets("supervisor", "supervisor"))
    text += (text.empty() ? "; a supervisor answers on " : ", ") + socket.uri();
  return text;
}

}  // namespace

/// errno of connect(2) names the cause better than gRPC, which reports each as "failed to connect".
Error ControlClient::cannot_connect(int error) const {
  if (!others_) others_ = other_supervisors();
  const std::string name_it = ", or name its socket with --control-socket or SUPERVISOR_CONTROL_SOCKET";
  const std::string next_step = error == EACCES ? "run as the supervisor's user or as root"
                                : connect_error_text(control_, error) == errno_text(ECONNREFUSED)
                                    ? "the supervisor that made this socket is dead; start it again" + name_it
                                    : "start one with 'supervisor run'" + name_it;
  return {"cannot reach a supervisor on " + control_.uri() + ": " + connect_error_text(control_, error),
          next_step + *others_, ErrorCode::unreachable};
}

Error ControlClient::not_a_supervisor() const {
  if (!others_) others_ = other_supervisors();
  return {"the socket " + control_.uri() + " is not a supervisor's; " +
              live_holder(control_).value_or("nobody") + " listens there",
          "name the supervisor's with --control-socket or SUPERVISOR_CONTROL_SOCKET" + *others_,
          ErrorCode::unreachable};
}

Outcome<> ControlClient::call(Duration timeout, const Error& on_timeout, const Call& call) const {
  UniqueFd connection = connect_to(control_);
  if (!connection) return cannot_connect(errno);
  process::require_room();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  const auto stub = mock_kms::v1::SupervisorControl::NewStub(
      grpc::CreateCustomInsecureChannelFromFd("supervisor", connection.release(), arguments));
  grpc::ClientContext context;
  const CallDeadline deadline(context, timeout);
  const grpc::Status status = call(*stub, context);
  if (deadline.ended(status)) return on_timeout;
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return {};
    case grpc::StatusCode::INVALID_ARGUMENT:
      return Error(status.error_message(), "'supervisor status' lists them", ErrorCode::invalid_input);
    case grpc::StatusCode::FAILED_PRECONDITION:
      return Error(status.error_message(), "see 'supervisor status'");
    case grpc::StatusCode::UNIMPLEMENTED:
      return not_a_supervisor();
    default:
      return no_answer(control_, describe(status));
  }
}

template <class Answer, class Request>
Outcome<Answer> ControlClient::read(Duration timeout, const Request& request,
                                    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                 Answer*)) const {
  Answer answer;
  const Error on_timeout = no_answer(control_, "no answer within " + go_duration(timeout));
  const auto outcome = call(timeout, on_timeout, [&](Stub& stub, grpc::ClientContext& context) {
    return (stub.*method)(&context, request, &answer);
  });
  if (!outcome) return outcome.error();
  return answer;
}

Outcome<mock_kms::v1::SupervisorStatus> ControlClient::status(Duration timeout, bool with_binary) const {
  auto request = request_for<mock_kms::v1::GetStatusRequest>(instance_);
  request.set_without_binary(!with_binary);
  return read(timeout, request, &Stub::GetStatus);
}

Outcome<mock_kms::v1::EventPage> ControlClient::events(std::uint64_t after, Duration timeout) const {
  auto request = request_for<mock_kms::v1::ReadEventsRequest>(instance_);
  request.set_after(after);
  return read(timeout, request, &Stub::ReadEvents);
}

Outcome<mock_kms::v1::OutputPage> ControlClient::output(std::uint64_t after, Duration timeout) const {
  auto request = request_for<mock_kms::v1::ReadOutputRequest>(instance_);
  request.set_after(after);
  return read(timeout, request, &Stub::ReadOutput);
}

Outcome<std::string> ControlClient::metrics(Duration timeout) const {
  auto reply = read(timeout, mock_kms::v1::ReadMetricsRequest(), &Stub::ReadMetrics);
  if (!reply) return reply.error();
  return std::move(*reply->mutable_text());
}

Outcome<> ControlClient::execute(ControlCommand command, Duration timeout) const {
  const auto request = request_for<mock_kms::v1::CommandRequest>(instance_);
  const Error on_timeout("it is not done after " + go_duration(timeout) + "; it continues",
                         "see 'supervisor status'");
  return call(timeout, on_timeout, [&](Stub& stub, grpc::ClientContext& context) {
    mock_kms::v1::CommandReply reply;
    return command == ControlCommand::restart ? stub.Restart(&context, request, &reply)
           : command == ControlCommand::pause ? stub.Pause(&context, request, &reply)
                                              : stub.Resume(&context, request, &reply);
  });
}

}  // namespace kms::supervisor
