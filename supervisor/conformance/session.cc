#include "supervisor/conformance/session.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/channel_arguments.h>

#include <thread>

#include "common/net/grpc_status.h"
#include "common/net/unix_connection.h"
#include "common/text/escape.h"
#include "supervisor/probe/call.h"

namespace kms::supervisor::conformance {
namespace {

constexpr auto api_server_authority = "localhost";
constexpr auto out_of_time_cause = "the check ran out of time";
constexpr auto connect_again_after = std::chrono::milliseconds(20);

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

grpc::ByteBuffer buffer_of(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

Refusal refusal_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::UNIMPLEMENTED:
      return Refusal::unimplemented;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::FAILED_PRECONDITION:
      return Refusal::bad_request;
    default:
      return Refusal::other;
  }
}

Reply unasked(const Question& question, Ended ended, std::string cause) {
  Reply reply;
  reply.method = question.method;
  reply.ended = ended;
  reply.cause = std::move(cause);
  return reply;
}

}  // namespace

struct Session::Connection {
  Connection(UniqueFd socket, const std::string& authority) : stub(channel(std::move(socket), authority)) {}

  static std::shared_ptr<grpc::Channel> channel(UniqueFd socket, const std::string& authority) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(max_bytes);
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, authority);
    return grpc::CreateCustomInsecureChannelFromFd(authority, socket.release(), arguments);
  }

  grpc::GenericStub stub;
};

/// A call in progress.
class Session::Call {
 public:
  Call(const Question& question, Duration timeout) : question_(question), timeout_(timeout) {}

  void start(grpc::GenericStub& stub, grpc::CompletionQueue& queue) {
    reader_ = stub.PrepareUnaryCall(&context_, std::string("/v2.KeyManagementService/") + question_.method,
                                    buffer_of(question_.request), &queue);
    reader_->StartCall();
    reader_->Finish(&answer_, &status_, this);
  }

  /// Takes the time at which the call ended.
  void finished() {
    took_ = Clock::now() - begun_;
    end_ = end_of_call(context_, status_, deadline_);
  }

  [[nodiscard]] Reply reply() const {
    Reply reply;
    reply.method = question_.method;
    reply.refusal = refusal_of(status_.error_code());
    reply.took = took_;
    reply.cause = visible_text(describe(status_));
    switch (end_) {
      case CallEnd::answered:
        reply.ended = Ended::answered;
        reply.bytes = bytes_of(answer_);
        reply.cause.clear();
        break;
      case CallEnd::refused:
        reply.ended = Ended::refused;
        break;
      case CallEnd::timed_out:
        reply.ended = Ended::timed_out;
        reply.cause = "no answer within " + go_duration(timeout_);
        break;
      case CallEnd::broken:
        reply.ended = Ended::broken;
        break;
      case CallEnd::failed_here:
        reply.ended =
            status_.error_code() == grpc::StatusCode::UNAVAILABLE ? Ended::broken : Ended::unreadable;
        break;
    }
    return reply;
  }

 private:
  const Question& question_;
  Duration timeout_;
  Clock::time_point begun_ = Clock::now();
  Duration took_{0};
  CallEnd end_ = CallEnd::failed_here;
  grpc::ClientContext context_;
  CallDeadline deadline_{context_, timeout_};
  grpc::ByteBuffer answer_;
  grpc::Status status_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
};

Session::Session(Endpoint endpoint, Duration timeout, Clock::time_point until)
    : endpoint_(std::move(endpoint)), timeout_(timeout), until_(until) {}

Session::~Session() = default;

void Session::disconnect() { connection_.clear(); }

std::optional<std::string> Session::why_not_asked(const Question& question) {
  if (!gone_.empty()) return gone_;
  if (timed_out_methods_.contains(question.method))
    return std::string(question.method) + " did not answer before";
  if (Clock::now() >= until_) {
    out_of_time_ = true;
    return out_of_time_cause;
  }
  return std::nullopt;
}

/// Waits for a listener as long as for a call: a dead plugin may be restarted.
bool Session::connect() {
  const auto until = std::min(Clock::now() + timeout_, until_);
  for (;;) {
    if (UniqueFd connection = connect_to(endpoint_)) {
      connection_.push_back(std::make_unique<Connection>(std::move(connection), api_server_authority));
      return true;
    }
    const int error = errno;
    if (Clock::now() + connect_again_after > until) {
      gone_ = "cannot connect to " + endpoint_.uri() + ": " + errno_text(error);
      return false;
    }
    std::this_thread::sleep_for(connect_again_after);
  }
}

Reply Session::ask(const Question& question) {
  if (const auto why = why_not_asked(question)) return unasked(question, Ended::not_asked, *why);
  Reply reply;
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (connection_.empty() && !connect()) return unasked(question, Ended::broken, gone_);
    reply = send({question}, connection_).front();
    if (reply.ended != Ended::broken) break;
    ++broken_connections_;
    disconnect();
  }
  if (reply.ended == Ended::timed_out) timed_out_methods_.insert(question.method);
  return reply;
}

Reply Session::ask_as(const std::string& authority, const Question& question) {
  if (const auto why = why_not_asked(question)) return unasked(question, Ended::not_asked, *why);
  UniqueFd connection = connect_to(endpoint_);
  if (!connection) {
    return unasked(question, Ended::broken,
                   "cannot connect to " + endpoint_.uri() + ": " + errno_text(errno));
  }
  Connections opened;
  opened.push_back(std::make_unique<Connection>(std::move(connection), authority));
  return send({question}, opened).front();
}

std::vector<Reply> Session::ask_at_once(const std::vector<Question>& questions, std::size_t connections) {
  std::vector<Reply> unsent;
  Connections opened;
  for (const Question& question : questions) {
    if (const auto why = why_not_asked(question)) unsent.push_back(unasked(question, Ended::not_asked, *why));
    if (unsent.empty() && opened.size() < connections) {
      if (UniqueFd connection = connect_to(endpoint_)) {
        opened.push_back(std::make_unique<Connection>(std::move(connection), api_server_authority));
      } else {
        unsent.push_back(unasked(
            question, Ended::broken,
            "cannot open connection " + std::to_string(opened.size() + 1) + ": " + errno_text(errno)));
      }
    }
  }
  return unsent.empty() ? send(questions, opened) : unsent;
}

std::vector<Reply> Session::send(const std::vector<Question>& questions, const Connections& connections) {
  const Duration timeout = std::min<Duration>(timeout_, until_ - Clock::now());
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Call>> calls;
  for (const Question& question : questions) {
    calls.push_back(std::make_unique<Call>(question, timeout));
    calls.back()->start(connections[(calls.size() - 1) % connections.size()]->stub, queue);
  }
  void* tag = nullptr;
  bool ok = false;
  for (std::size_t ended = 0; ended < calls.size() && queue.Next(&tag, &ok); ++ended) {
    static_cast<Call*>(tag)->finished();
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  std::vector<Reply> replies;
  replies.reserve(calls.size());
  for (const auto& call : calls) replies.push_back(call->reply());
  if (timeout == timeout_) return replies;
  // A call that had less than its own timeout cannot be blamed.
  for (std::size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].ended != Ended::timed_out) continue;
    out_of_time_ = true;
    replies[i] = unasked(questions[i], Ended::not_asked, out_of_time_cause);
  }
  return replies;
}

}  // namespace kms::supervisor::conformance
