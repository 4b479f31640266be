#include "supervisor/probe/probe.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>

#include <atomic>

#include "common/net/grpc_status.h"
#include "common/net/unix_connection.h"
#include "supervisor/probe/call_end.h"
#include "supervisor/probe/deep_probe.h"

namespace kms::supervisor {
namespace {

/// The least that gRPC grants (core's subchannel.cc takes 100 ms for anything shorter).
constexpr int reconnect_milliseconds = 100;

decltype(ProbeResult::outcome) outcome_of(const grpc::ClientContext& context, const grpc::Status& status,
                                          v2::StatusResponse response, Duration latency, Duration timeout) {
  switch (end_of_call(context, status, latency, timeout)) {
    case CallEnd::answered:
      return ProbeAnswer{std::move(response), "", latency};
    case CallEnd::refused:
      return ProbeAnswer{{}, describe(status), latency};
    case CallEnd::silent:
      return ProbeSilence{"no answer within " + go_duration(timeout)};
    case CallEnd::broken:
      return ProbeSilence{"the connection broke: " + status.error_message(), true};
    case CallEnd::failed_here:
      break;
  }
  return ProbeSilence{describe(status)};
}

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, reconnect_milliseconds);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, reconnect_milliseconds);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, reconnect_milliseconds);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  return arguments;
}

/// What a plugin said, cut where it would be endless.
std::string quoted(const std::string& text) {
  constexpr std::size_t longest = 512;
  return "'" + (text.size() > longest ? text.substr(0, longest) + "..." : text) + "'";
}

}  // namespace

std::string fault_of(const ProbeAnswer& answer) {
  const v2::StatusResponse& status = answer.status;
  if (!answer.error.empty()) return "Status answers with an error, " + answer.error;
  if (status.version() != "v2" && status.version() != "v2beta1") {
    return "version is " + quoted(status.version()) + ", the API server takes v2 and v2beta1 (rule 10)";
  }
  if (status.healthz() != "ok") return "healthz is " + quoted(status.healthz()) + " instead of ok (rule 12)";
  if (status.key_id().empty()) return "key_id is empty (rule 13)";
  if (status.key_id().size() > 1024) {
    return "key_id is " + std::to_string(status.key_id().size()) +
           " bytes long, the API server takes 1024 (rule 13)";
  }
  return "";
}

/// Keeps itself alive while it is under way: a Probe that goes leaves it to the queue.
class Probe::Call final : public QueuedCall {
 public:
  Call(Generation generation, Duration timeout, bool privately, Sink sink)
      : generation_(generation), timeout_(timeout), privately_(privately), sink_(std::move(sink)) {
    context_.set_deadline(std::chrono::system_clock::now() + timeout);
    context_.set_wait_for_ready(true);
  }

  void start(const std::shared_ptr<Call>& self, const SharedStub& stub, CallQueue& calls) {
    self_ = self;
    stub_ = stub;
    reader_ = stub->AsyncStatus(&context_, {}, calls.queue());
    hand_over();
    reader_->Finish(&response_, &status_, this);
  }

  void finished() override {
    const std::shared_ptr<Call> until_the_end = std::move(self_);
    const std::string key_id = response_.key_id();
    auto outcome = outcome_of(context_, status_, std::move(response_),
                              std::chrono::steady_clock::now() - start_, timeout_);
    if (auto* answer = std::get_if<ProbeAnswer>(&outcome)) {
      answer->privately = privately_;
      answered_ = answer->error.empty();
      if (deep_ && fault_of(*answer).empty()) deep_->start(deep_, stub_, key_id);
    }
    sink_({generation_, std::move(outcome)});
  }

  /// Lets `deep` follow a good answer.
  void then(std::shared_ptr<DeepProbe> deep) { deep_ = std::move(deep); }

  void cancel() { context_.TryCancel(); }

  /// A Status has come.
  [[nodiscard]] bool answered() const { return answered_; }

 private:
  Generation generation_;
  Duration timeout_;
  bool privately_;
  Sink sink_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  grpc::ClientContext context_;
  v2::StatusResponse response_;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::StatusResponse>> reader_;
  std::atomic<bool> answered_ = false;
  SharedStub stub_;
  std::shared_ptr<DeepProbe> deep_;
  std::shared_ptr<Call> self_;
};

Probe::Probe(CallQueue& calls, Endpoint endpoint, Sink sink)
    : calls_(calls), endpoint_(std::move(endpoint)), sink_(std::move(sink)) {}

Probe::Probe(CallQueue& calls, Endpoint endpoint, UniqueFd connection, bool or_endpoint, Sink sink)
    : Probe(calls, std::move(endpoint), std::move(sink)) {
  or_endpoint_ = or_endpoint;
  private_stub_ = v2::KeyManagementService::NewStub(
      grpc::CreateCustomInsecureChannelFromFd("handed-down", connection.release(), channel_arguments()));
}

Probe::~Probe() {
  if (call_) call_->cancel();
  if (deep_probe_) deep_probe_->cancel();
}

void Probe::connect() {
  stub_ = v2::KeyManagementService::NewStub(grpc::CreateCustomChannel(
      endpoint_.grpc_target(), grpc::InsecureChannelCredentials(), channel_arguments()));
}

/// Both ways in turn until one has answered; that one from then on.
bool Probe::use_private() {
  if (!private_stub_ || !or_endpoint_) return private_stub_ != nullptr;
  if (call_ && call_->answered()) {
    if (!private_asked_last_) private_stub_.reset();
    return private_asked_last_;
  }
  return !private_asked_last_;
}

void Probe::probe(Generation generation, Duration timeout, bool deep) {
  private_asked_last_ = use_private();
  if (!private_asked_last_ && !stub_) {
    // gRPC waits 100 ms at least before it tries a refused socket again, which would hide how soon a plugin
    // is up.
    if (!connect_to(endpoint_)) {
      sink_({generation, ProbeSilence{"nothing listens on " + endpoint_.uri() + ": " + errno_text(errno)}});
      return;
    }
    connect();
  }
  call_ = std::make_shared<Call>(generation, timeout, private_asked_last_, sink_);
  if (deep && (!deep_probe_ || deep_probe_->over())) {
    deep_probe_ = std::make_shared<DeepProbe>(calls_, generation, timeout, sink_);
    call_->then(deep_probe_);
  }
  call_->start(call_, private_asked_last_ ? private_stub_ : stub_, calls_);
}

}  // namespace kms::supervisor
