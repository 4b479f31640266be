#include "provider/kms/calls.h"

#include <grpc/grpc_security.h>
#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>
#include <utility>

#include "common/log/log.h"
#include "common/net/timed_action.h"
#include "provider/faults/effects.h"
#include "provider/kms/methods.h"
#include "provider/kms/request_bytes.h"

namespace kms::provider {
namespace {

using mock_kms::v1::Fault;

/// Calls of each method that are requested from gRPC in advance. One is enough; with more, a burst does not
/// wait for the next request.
constexpr int requested_per_method = 16;

/// Different warnings, so that a client that makes names up cannot fill the log.
constexpr std::size_t max_warnings = 8;

/// An error's code as gRPC has it, and its name for the log.
std::pair<grpc::StatusCode, const char*> grpc_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_input:
      return {grpc::StatusCode::INVALID_ARGUMENT, "InvalidArgument"};
    case ErrorCode::not_found:
      return {grpc::StatusCode::NOT_FOUND, "NotFound"};
    case ErrorCode::failed:
    case ErrorCode::unreachable:
      break;
  }
  return {grpc::StatusCode::INTERNAL, "Internal"};
}

struct ReleaseContext {
  void operator()(grpc_auth_context* context) const { grpc_auth_context_release(context); }
};

/// The number of the call's connection, from 1 in the order of their first calls; 0 if gRPC does not tell
/// connections apart. gRPC has no name for them: every client of a Unix socket has the same peer name. But
/// gRPC 1.51 makes one auth context per connection and passes it to each of its calls, so the number is kept
/// there as a property.
std::uint64_t connection_number(grpc_call* call, std::uint64_t& count) {
  constexpr auto property = "mock_kms_connection";
  const std::unique_ptr<grpc_auth_context, ReleaseContext> context(grpc_call_auth_context(call));
  if (!context) return 0;
  auto found = grpc_auth_context_find_properties_by_name(context.get(), property);
  if (const grpc_auth_property* kept = grpc_auth_property_iterator_next(&found)) {
    std::uint64_t number = 0;
    std::from_chars(kept->value, kept->value + kept->value_length, number);
    return number;
  }
  grpc_auth_context_add_cstring_property(context.get(), property, std::to_string(++count).c_str());
  return count;
}

}  // namespace

/// A tag of the completion queue.
class CallQueue::Call {
 public:
  virtual ~Call() = default;
  /// The awaited step is done, or (`ok` false) will not happen.
  virtual void proceed(bool ok) = 0;
  /// Ends a delay.
  virtual void cancel_alarm() = 0;
};

/// One call, from its request to its end, when it deletes itself. The end always comes, because the queue is
/// drained before the server ends. Plaintext in a message is wiped then; the copies that gRPC and the kernel
/// made (slices, socket buffers) are out of reach.
template <class Method>
class CallQueue::UnaryCall final : public Call {
 public:
  explicit UnaryCall(CallQueue& calls) : calls_(calls), responder_(&context_) {
    grpc::ServerCompletionQueue* const queue = calls_.queue_.get();
    (calls_.services_.*Method::service.*Method::request_call)(&context_, &bytes_, &responder_, queue, queue,
                                                              this);
  }
  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;
  ~UnaryCall() override {
    Method::wipe_secrets(request_, response_);
    if (stage_ != Stage::requested) --calls_.in_flight_;
  }

  void proceed(bool ok) override {
    switch (stage_) {
      case Stage::requested:
        if (!ok) return delete this;  // never came before the shutdown
        return begin();
      case Stage::delayed:
        calls_.end_delay(*this);
        return answer();
      case Stage::answering:
        if (!ok && !decision_.hang) calls_.count_cut_off();  // the client is gone
        delete this;
    }
  }

  void cancel_alarm() override { alarm_->Cancel(); }

 private:
  enum class Stage { requested, delayed, answering };

  void begin() {
    ++calls_.in_flight_;
    came_ = Journal::Clock::now();
    stage_ = Stage::answering;
    calls_.await_next<UnaryCall>();
    request_size_ = bytes_.Length();
    const RequestBytes read = read_request(bytes_, request_);
    bytes_.Clear();
    parsed_ = read == RequestBytes::parsed;
    if (!parsed_) return refuse_bytes(read);
    if (state().faults.any()) apply_faults();
    if (!begin_delay()) answer();
  }

  void refuse_bytes(RequestBytes read) {
    Method::wipe_secrets(request_, response_);
    request_.Clear();
    const bool too_large = read == RequestBytes::too_large;
    const std::string message = too_large
                                    ? "the request is larger than " + std::to_string(max_request) + " bytes"
                                    : "the request is not a " + std::string(request_.GetTypeName());
    calls_.warn_once(Method::name, "refused a call: " + message);
    fail(too_large ? grpc::StatusCode::RESOURCE_EXHAUSTED : grpc::StatusCode::INTERNAL, message);
  }

  void apply_faults() {
    state().note_ended_faults();
    decision_ = state().faults.decide({Method::fault_method, Method::uid(request_),
                                       Method::key_id(calls_.service_, state().keys, request_)});
    if (decision_.names.empty()) return;
    log::debug("a fault applies to a call", {{"method", Method::name}, {"fault", decision_.names}});
    calls_.apply_faults(decision_);
  }

  /// A delayed call waits for an alarm without a time: the end of the delay cancels it. False if the call is
  /// not delayed.
  [[nodiscard]] bool begin_delay() {
    if (!decision_.hang && decision_.delay <= Duration{0}) return false;
    if (decision_.hang) record(Journal::hung);
    alarm_ = std::make_unique<grpc::Alarm>();
    stage_ = Stage::delayed;
    return calls_.delay(*this, [this] {
      alarm_->Set(calls_.queue_.get(), gpr_inf_future(GPR_CLOCK_MONOTONIC), this);
      end_of_delay_.emplace(SteadyClock::now() + length_of_delay(), [this] { alarm_->Cancel(); });
    });
  }

  /// A call that hangs ends after its client has given up: an answer in time would be no hang.
  [[nodiscard]] SteadyClock::duration length_of_delay() const {
    using namespace std::chrono_literals;
    if (!decision_.hang) return decision_.delay;
    const auto now = std::chrono::system_clock::now();  // the clock of context_.deadline()
    return std::min<SteadyClock::duration>(context_.deadline() - std::min(now, context_.deadline()), 1h) + 1s;
  }

  void answer() {
    stage_ = Stage::answering;
    if (decision_.hang) {
      calls_.count_cut_off();
      return fail(grpc::StatusCode::UNAVAILABLE, "the call hung");
    }
    if (decision_.error) {
      return fail(static_cast<grpc::StatusCode>(decision_.error->first), decision_.error->second);
    }
    if (has_violation(decision_, Fault::AUTHORITY_REFUSED) &&
        context_.ExperimentalGetAuthority() == "localhost") {
      return fail(grpc::StatusCode::UNAUTHENTICATED, "there is no such authority here");
    }
    if (const auto answered = true_answer(); !answered) return refuse(answered.error());
    if (!decision_.names.empty()) Method::distort_answer(state().keys, decision_, request_, response_);
    grpc::ByteBuffer bytes;
    bool is_new = false;
    grpc::SerializationTraits<typename Method::Response>::Serialize(response_, &bytes, &is_new);
    record(grpc::StatusCode::OK, bytes.Length());
    responder_.Finish(bytes, grpc::Status::OK, this);
  }

  Outcome<> true_answer() {
    try {
      return Method::answer(calls_.service_, decision_, request_, response_);
    } catch (const std::exception& error) {
      return Error(error.what());
    }
  }

  void refuse(const Error& error) {
    const auto [code, code_name] = grpc_code(error.code());
    log::info("refused a call", {{"method", Method::name},
                                 {"uid", Method::uid(request_)},
                                 {"code", code_name},
                                 {"cause", error.cause()}});
    fail(code, error.cause());
  }

  void fail(grpc::StatusCode code, const std::string& message) {
    if (!decision_.hang) record(code);
    responder_.FinishWithError({code, message}, this);
  }

  void record(int code, std::size_t response_size = 0) {
    const bool ok = code == grpc::StatusCode::OK;
    if (parsed_) Method::remember_plaintext(state().journal, ok, request_, response_);
    state().journal.add({Method::journal_method, code, Method::uid(request_),
                         Method::recorded_key_id(calls_.service_, request_, response_), request_size_,
                         response_size, came_, decision_.names,
                         connection_number(context_.c_call(), calls_.connections_seen_)});
  }

  [[nodiscard]] ProviderState& state() const { return calls_.state_; }

  CallQueue& calls_;
  grpc::ServerContext context_;
  grpc::ByteBuffer bytes_;  ///< of the request, until it is parsed
  std::size_t request_size_ = 0;
  bool parsed_ = false;
  typename Method::Request request_;
  typename Method::Response response_;
  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> responder_;
  Stage stage_ = Stage::requested;
  Journal::Clock::time_point came_;
  FaultDecision decision_;
  std::unique_ptr<grpc::Alarm> alarm_;
  std::optional<TimedAction> end_of_delay_;
};

/// A call of a method that the service does not have, such as those of KMS v1. It deletes itself.
class CallQueue::UnknownCall final : public Call {
 public:
  explicit UnknownCall(CallQueue& calls) : calls_(calls), stream_(&context_) {
    grpc::ServerCompletionQueue* const queue = calls_.queue_.get();
    calls_.unknown_methods_.RequestCall(&context_, &stream_, queue, queue, this);
  }
  UnknownCall(const UnknownCall&) = delete;
  UnknownCall& operator=(const UnknownCall&) = delete;
  ~UnknownCall() override {
    if (came_) --calls_.in_flight_;
  }

  void proceed(bool ok) override {
    if (came_ || !ok) return delete this;
    came_ = true;
    ++calls_.in_flight_;
    calls_.await_next<UnknownCall>();
    refuse();
  }

  void cancel_alarm() override {}

 private:
  void refuse() {
    const std::string& method = context_.method();
    const bool is_v1 = !calls_.kms_v1_ && method.starts_with("/v1beta1.");
    const std::string message =
        is_v1 ? "this plugin serves KMS v2; set apiVersion: v2 in the EncryptionConfiguration"
              : "there is no method " + method +
                    "; this plugin serves Status, Encrypt and Decrypt of v2.KeyManagementService" +
                    (calls_.kms_v1_ ? ", and Version, Encrypt and Decrypt of v1beta1" : "");
    calls_.warn_once(method, "refused a call of an unknown method: " + message);
    calls_.state_.journal.add({Journal::Method::other, grpc::StatusCode::UNIMPLEMENTED, "", "", 0, 0,
                               Journal::Clock::now(), "",
                               connection_number(context_.c_call(), calls_.connections_seen_), method});
    stream_.Finish({grpc::StatusCode::UNIMPLEMENTED, message}, this);
  }

  CallQueue& calls_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  bool came_ = false;
};

void CallQueue::add_to(grpc::ServerBuilder& builder) {
  builder.RegisterService(&services_.kms_v2);
  if (kms_v1_) builder.RegisterService(&services_.kms_v1);
  builder.RegisterAsyncGenericService(&unknown_methods_);
  queue_ = builder.AddCompletionQueue();
}

void CallQueue::start() {
  for (int i = 0; i < requested_per_method; ++i) {
    await_next<UnaryCall<StatusMethod>>();
    await_next<UnaryCall<EncryptMethod>>();
    await_next<UnaryCall<DecryptMethod>>();
  }
  if (kms_v1_) {
    await_next<UnaryCall<V1VersionMethod>>();
    await_next<UnaryCall<V1EncryptMethod>>();
    await_next<UnaryCall<V1DecryptMethod>>();
  }
  await_next<UnknownCall>();
  thread_ = std::thread([this] { run(); });
}

void CallQueue::run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<Call*>(tag)->proceed(ok);
}

template <class SomeCall>
void CallQueue::await_next() {
  const std::lock_guard lock(mutex_);
  if (!closed_) new SomeCall(*this);  // the queue owns it from here on
}

/// False, without an alarm, if the queue is closed.
bool CallQueue::delay(Call& call, const std::function<void()>& set_alarm) {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  set_alarm();
  delayed_.insert(&call);
  return true;
}

void CallQueue::end_delay(Call& call) {
  const std::lock_guard lock(mutex_);
  delayed_.erase(&call);
}

void CallQueue::count_cut_off() {
  const std::lock_guard lock(mutex_);
  if (closed_) ++cut_off_;
}

/// May not return.
void CallQueue::apply_faults(const FaultDecision& decision) {
  if (decision.grow_mib > 0) state_.faults.grow(decision.grow_mib, decision.grow_max_mib);
  if (decision.drop == Fault::GOAWAY) connections_.send_goaway();
  if (decision.drop == Fault::RESET) connections_.cut_all();
  apply_process_faults(decision);
}

void CallQueue::warn_once(const std::string& method, const std::string& warning) {
  if (warned_of_.size() < max_warnings && warned_of_.insert(warning).second) {
    log::warning(warning, {{"method", method}});
  }
}

void CallQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (Call* call : delayed_) call->cancel_alarm();
}

int CallQueue::finish() {
  if (!thread_.joinable()) return 0;
  queue_->Shutdown();
  thread_.join();
  return cut_off_;
}

}  // namespace kms::provider
