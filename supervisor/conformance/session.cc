#include "supervisor/conformance/session.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/channel_arguments.h>

#include <thread>

#include "common/net/grpc_status.h"
#include "common/net/unix_connection.h"
#include "common/text/escape.h"
#include "supervisor/probe/call_end.h"

namespace kms::supervisor::conformance {
namespace {

constexpr auto authority_of_the_api_server = "localhost";
constexpr auto connect_again_after = std::chrono::milliseconds(20);

std::unique_ptr<grpc::GenericStub> stub_over(UniqueFd connection, const std::string& authority) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(Session::max_bytes);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, authority);
  return std::make_unique<grpc::GenericStub>(
      grpc::CreateCustomInsecureChannelFromFd(authority, connection.release(), arguments));
}

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

/// One call under way.
class Flight {
 public:
  Flight(const Question& question, Duration timeout) : question_(question), timeout_(timeout) {
    context_.set_deadline(std::chrono::system_clock::now() + timeout);
  }

  void start(grpc::GenericStub& stub, grpc::CompletionQueue& queue) {
    reader_ = stub.PrepareUnaryCall(&context_, std::string("/v2.KeyManagementService/") + question_.method,
                                    buffer_of(question_.request), &queue);
    reader_->StartCall();
    reader_->Finish(&answer_, &status_, this);
  }

  /// Notes when the call ended.
  void land() { took_ = Session::Clock::now() - begun_; }

  [[nodiscard]] Reply reply() const {
    Reply reply;
    reply.method = question_.method;
    reply.code = status_.error_code();
    reply.took = took_;
    reply.cause = visible_text(describe(status_));
    switch (end_of_call(context_, status_, took_, timeout_)) {
      case CallEnd::answered:
        reply.ended = Ended::answered;
        reply.bytes = bytes_of(answer_);
        reply.cause.clear();
        break;
      case CallEnd::refused:
        reply.ended = Ended::refused;
        break;
      case CallEnd::silent:
        reply.ended = Ended::silent;
        reply.cause = "no answer within " + go_duration(timeout_);
        break;
      case CallEnd::broken:
        reply.ended = Ended::broken;
        break;
      case CallEnd::failed_here:
        reply.ended = reply.code == grpc::StatusCode::UNAVAILABLE ? Ended::broken : Ended::unreadable;
        break;
    }
    return reply;
  }

 private:
  const Question& question_;
  Duration timeout_;
  Session::Clock::time_point begun_ = Session::Clock::now();
  Duration took_{0};
  grpc::ClientContext context_;
  grpc::ByteBuffer answer_;
  grpc::Status status_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
};

Reply unasked(const Question& question, Ended ended, std::string cause) {
  Reply reply;
  reply.method = question.method;
  reply.ended = ended;
  reply.cause = std::move(cause);
  return reply;
}

}  // namespace

Session::Session(Endpoint endpoint, Duration timeout, Clock::time_point until)
    : endpoint_(std::move(endpoint)), timeout_(timeout), until_(until) {}

Session::~Session() = default;

void Session::disconnect() { connection_.clear(); }

constexpr auto over = "the time for the whole check was over";

std::optional<std::string> Session::why_not_asked(const Question& question) {
  if (!gone_.empty()) return gone_;
  if (silent_.contains(question.method)) return std::string(question.method) + " did not answer before";
  if (Clock::now() >= until_) {
    out_of_time_ = true;
    return over;
  }
  return std::nullopt;
}

/// Waits for a listener for as long as a call may take: a plugin that died may be started again.
bool Session::connect() {
  const auto until = std::min(Clock::now() + timeout_, until_);
  for (;;) {
    if (UniqueFd connection = connect_to(endpoint_)) {
      connection_.push_back(stub_over(std::move(connection), authority_of_the_api_server));
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
  if (reply.ended == Ended::silent) silent_.insert(question.method);
  return reply;
}

Reply Session::ask_as(const std::string& authority, const Question& question) {
  if (const auto why = why_not_asked(question)) return unasked(question, Ended::not_asked, *why);
  UniqueFd connection = connect_to(endpoint_);
  if (!connection) {
    return unasked(question, Ended::broken,
                   "cannot connect to " + endpoint_.uri() + ": " + errno_text(errno));
  }
  Stubs stubs;
  stubs.push_back(stub_over(std::move(connection), authority));
  return send({question}, stubs).front();
}

std::vector<Reply> Session::ask_at_once(const std::vector<Question>& questions, std::size_t connections) {
  std::vector<Reply> unsent;
  Stubs stubs;
  for (const Question& question : questions) {
    if (const auto why = why_not_asked(question)) unsent.push_back(unasked(question, Ended::not_asked, *why));
    if (unsent.empty() && stubs.size() < connections) {
      if (UniqueFd connection = connect_to(endpoint_)) {
        stubs.push_back(stub_over(std::move(connection), authority_of_the_api_server));
      } else {
        unsent.push_back(
            unasked(question, Ended::broken,
                    "cannot open connection " + std::to_string(stubs.size() + 1) + ": " + errno_text(errno)));
      }
    }
  }
  return unsent.empty() ? send(questions, stubs) : unsent;
}

std::vector<Reply> Session::send(const std::vector<Question>& questions, const Stubs& stubs) {
  const Duration timeout = std::min<Duration>(timeout_, until_ - Clock::now());
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Flight>> flights;
  for (const Question& question : questions) {
    flights.push_back(std::make_unique<Flight>(question, timeout));
    flights.back()->start(*stubs[(flights.size() - 1) % stubs.size()], queue);
  }
  void* tag = nullptr;
  bool ok = false;
  for (std::size_t landed = 0; landed < flights.size() && queue.Next(&tag, &ok); ++landed) {
    static_cast<Flight*>(tag)->land();
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  std::vector<Reply> replies;
  replies.reserve(flights.size());
  for (const auto& flight : flights) replies.push_back(flight->reply());
  if (timeout == timeout_) return replies;
  // What had less time than a call's own is not to blame for being silent.
  for (std::size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].ended != Ended::silent) continue;
    out_of_time_ = true;
    replies[i] = unasked(questions[i], Ended::not_asked, over);
  }
  return replies;
}

}  // namespace kms::supervisor::conformance
