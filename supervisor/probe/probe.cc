#include "supervisor/probe/probe.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>

#include <array>
#include <atomic>
#include <optional>
#include <random>

#include "common/error.h"
#include "common/net/grpc_status.h"
#include "common/net/unix_connection.h"
#include "common/text/escape.h"

namespace kms::supervisor {
namespace {

/// gRPC's minimum: core's subchannel.cc takes 100 ms for anything shorter.
constexpr int reconnect_milliseconds = 100;

decltype(ProbeResult::outcome) outcome_of(CallEnd end, const grpc::Status& status,
                                          v2::StatusResponse response, Duration latency, Duration timeout) {
  switch (end) {
    case CallEnd::answered:
      return ProbeAnswer{std::move(response), "", latency};
    case CallEnd::refused:
      return ProbeAnswer{{}, describe(status), latency};
    case CallEnd::timed_out:
      return ProbeFailure{"no answer within " + go_duration(timeout)};
    case CallEnd::broken:
      return ProbeFailure{"the connection broke: " + status.error_message(), true};
    case CallEnd::failed_here:
      break;
  }
  return ProbeFailure{describe(status)};
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

constexpr std::size_t max_shown = 512;

/// Holds no secret, and nobody keeps its ciphertext.
constexpr auto canary = "a canary of the supervisor";

/// The API server sends a UUID, but any text is valid (rule 25).
std::string new_uid() {
  static thread_local std::mt19937_64 random{std::random_device()()};
  return "supervisor-" + std::to_string(random());
}

}  // namespace

std::string fault_of(const ProbeAnswer& answer) {
  const v2::StatusResponse& status = answer.status;
  if (!answer.error.empty()) return "Status answers with an error, " + answer.error;
  if (status.version() != "v2" && status.version() != "v2beta1") {
    return "version is " + in_quotes(status.version(), max_shown) +
           ", the API server takes v2 and v2beta1 (rule 10)";
  }
  if (status.healthz() != "ok")
    return "healthz is " + in_quotes(status.healthz(), max_shown) + " instead of ok (rule 12)";
  if (status.key_id().empty()) return "key_id is empty (rule 13)";
  if (status.key_id().size() > 1024) {
    return "key_id is " + std::to_string(status.key_id().size()) +
           " bytes long, the API server takes 1024 (rule 13)";
  }
  return "";
}

/// Runs the calls of one deep probe, one after the other, on the queue's thread. It keeps itself alive while
/// a call is in progress.
class Probe::DeepCall final : public QueuedCall {
 public:
  /// Each call has `timeout`. `sink` gets the one result, on the queue's thread.
  DeepCall(CallQueue& calls, Generation generation, Duration timeout, Sink sink)
      : calls_(calls), generation_(generation), timeout_(timeout), sink_(std::move(sink)), uid_(new_uid()) {}

  /// Starts after a good Status with `key_id`. Call it once, on the queue's thread.
  void start(const std::shared_ptr<DeepCall>& self, SharedStub stub, std::string key_id) {
    self_ = self;
    stub_ = std::move(stub);
    key_id_ = std::move(key_id);
    start_ = std::chrono::steady_clock::now();
    in_progress_ = true;
    hand_over();
    begin(Step::encrypt);
  }

  /// A call in progress ends by its own deadline; the next one does not begin. From any thread.
  void cancel() { cancelled_ = true; }

  /// No call is in progress and none will come.
  [[nodiscard]] bool over() const { return !in_progress_; }

  void finished() override {
    const std::shared_ptr<DeepCall> until_the_end = self_;
    if (cancelled_) return report("it was given up");
    if (const std::string found = problem(); !found.empty()) return report(found);
    if (step_ == Step::decrypt) return report("");
    begin(step_ == Step::encrypt ? Step::status : Step::decrypt);
  }

 private:
  /// Status comes again after Encrypt, so that a rotation in between is not reported as a problem.
  enum class Step { encrypt, status, decrypt };

  void begin(Step step) {
    step_ = step;
    deadline_.reset();
    context_ = std::make_unique<grpc::ClientContext>();
    deadline_.emplace(*context_, timeout_);
    if (step == Step::encrypt) {
      v2::EncryptRequest request;
      request.set_plaintext(canary);
      request.set_uid(uid_);
      encrypt_ = stub_->AsyncEncrypt(context_.get(), request, calls_.queue());
      encrypt_->Finish(&encrypted_, &result_, this);
    } else if (step == Step::status) {
      ask_status_ = stub_->AsyncStatus(context_.get(), {}, calls_.queue());
      ask_status_->Finish(&status_, &result_, this);
    } else {
      v2::DecryptRequest request;
      request.set_ciphertext(encrypted_.ciphertext());
      request.set_uid(uid_);
      request.set_key_id(encrypted_.key_id());
      *request.mutable_annotations() = encrypted_.annotations();
      decrypt_ = stub_->AsyncDecrypt(context_.get(), request, calls_.queue());
      decrypt_->Finish(&decrypted_, &result_, this);
    }
  }

  void report(const std::string& problem) {
    sink_({generation_, DeepAnswer{encrypted_.key_id(), problem, std::chrono::steady_clock::now() - start_}});
    stub_.reset();
    in_progress_ = false;
    self_.reset();
  }

  /// The problem that the last step shows; empty if there is none.
  [[nodiscard]] std::string problem() const {
    static constexpr std::array names{"Encrypt", "Status", "Decrypt"};
    const std::string name = names.at(static_cast<std::size_t>(step_));
    if (deadline_->ended(result_)) return name + " of a canary got no answer within " + go_duration(timeout_);
    if (!result_.ok()) return name + " of a canary answers with an error, " + describe(result_);
    switch (step_) {
      case Step::encrypt:
        if (encrypted_.ciphertext().empty() || encrypted_.ciphertext().size() > 1024)
          return "Encrypt gives " + std::to_string(encrypted_.ciphertext().size()) +
                 " bytes of ciphertext, the API server takes 1 to 1024 (rule 20)";
        return "";
      case Step::status:
        if (encrypted_.key_id() == key_id_ || encrypted_.key_id() == status_.key_id()) return "";
        return "Encrypt names key_id " + in_quotes(encrypted_.key_id(), max_shown) + " and Status " +
               in_quotes(status_.key_id(), max_shown) + " (rule 14)";
      case Step::decrypt:
        return decrypted_.plaintext() == canary ? ""
                                                : "Decrypt does not give back what was encrypted (rule 27)";
    }
    return "";
  }

  CallQueue& calls_;
  Generation generation_;
  Duration timeout_;
  Sink sink_;
  SharedStub stub_;
  std::string uid_;
  std::string key_id_;  ///< of the first Status
  Step step_ = Step::encrypt;
  std::chrono::steady_clock::time_point start_;
  std::atomic<bool> in_progress_ = false;
  std::atomic<bool> cancelled_ = false;
  std::unique_ptr<grpc::ClientContext> context_;
  std::optional<CallDeadline> deadline_;
  grpc::Status result_;
  v2::EncryptResponse encrypted_;
  v2::StatusResponse status_;
  v2::DecryptResponse decrypted_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::EncryptResponse>> encrypt_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::StatusResponse>> ask_status_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::DecryptResponse>> decrypt_;
  std::shared_ptr<DeepCall> self_;
};

/// Keeps itself alive while it is in progress: it may outlive its Probe.
class Probe::StatusCall final : public QueuedCall {
 public:
  StatusCall(Generation generation, Duration timeout, bool privately, Sink sink)
      : generation_(generation), timeout_(timeout), privately_(privately), sink_(std::move(sink)) {
    context_.set_wait_for_ready(true);
  }

  void start(const std::shared_ptr<StatusCall>& self, const SharedStub& stub, CallQueue& calls) {
    self_ = self;
    stub_ = stub;
    reader_ = stub->AsyncStatus(&context_, {}, calls.queue());
    hand_over();
    reader_->Finish(&response_, &status_, this);
  }

  void finished() override {
    const std::shared_ptr<StatusCall> until_the_end = std::move(self_);
    const std::string key_id = response_.key_id();
    auto outcome = outcome_of(end_of_call(context_, status_, deadline_), status_, std::move(response_),
                              std::chrono::steady_clock::now() - start_, timeout_);
    failed_ = std::holds_alternative<ProbeFailure>(outcome);
    if (auto* answer = std::get_if<ProbeAnswer>(&outcome)) {
      answer->privately = privately_;
      answered_ = answer->error.empty();
      if (deep_ && fault_of(*answer).empty()) deep_->start(deep_, stub_, key_id);
    }
    sink_({generation_, std::move(outcome)});
  }

  /// Lets `deep` follow a good answer.
  void then(std::shared_ptr<DeepCall> deep) { deep_ = std::move(deep); }

  void cancel() { context_.TryCancel(); }

  /// True if a Status has come.
  [[nodiscard]] bool answered() const { return answered_; }

  /// True if the call is over and had no answer.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  Generation generation_;
  Duration timeout_;
  bool privately_;
  Sink sink_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  grpc::ClientContext context_;
  CallDeadline deadline_{context_, timeout_};
  v2::StatusResponse response_;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v2::StatusResponse>> reader_;
  std::atomic<bool> answered_ = false;
  std::atomic<bool> failed_ = false;
  SharedStub stub_;
  std::shared_ptr<DeepCall> deep_;
  std::shared_ptr<StatusCall> self_;
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
  if (status_call_) status_call_->cancel();
  if (deep_call_) deep_call_->cancel();
}

void Probe::connect() {
  stub_ = v2::KeyManagementService::NewStub(grpc::CreateCustomChannel(
      endpoint_.grpc_target(), grpc::InsecureChannelCredentials(), channel_arguments()));
}

/// Alternates between both connections until one has answered, then keeps to that one.
bool Probe::choose_private() {
  if (!private_stub_ || !or_endpoint_) return private_stub_ != nullptr;
  if (status_call_ && status_call_->answered()) {
    if (!private_asked_last_) private_stub_.reset();
    return private_asked_last_;
  }
  return !private_asked_last_;
}

void Probe::probe(Generation generation, Duration timeout, bool deep) {
  // A new connection: gRPC's own waits to reconnect by a timer that the wall clock can delay (CallDeadline).
  if (!private_asked_last_ && status_call_ && status_call_->failed()) stub_.reset();
  private_asked_last_ = choose_private();
  if (!private_asked_last_ && !stub_) {
    // gRPC waits at least 100 ms before it retries a refused socket, which would delay the first answer.
    if (!connect_to(endpoint_)) {
      sink_({generation, ProbeFailure{"nothing listens on " + endpoint_.uri() + ": " + errno_text(errno)}});
      return;
    }
    connect();
  }
  status_call_ = std::make_shared<StatusCall>(generation, timeout, private_asked_last_, sink_);
  if (deep && (!deep_call_ || deep_call_->over())) {
    deep_call_ = std::make_shared<DeepCall>(calls_, generation, timeout, sink_);
    status_call_->then(deep_call_);
  }
  status_call_->start(status_call_, private_asked_last_ ? private_stub_ : stub_, calls_);
}

}  // namespace kms::supervisor
