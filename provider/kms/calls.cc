// UnaryCall is one call of a method, from its arming to its end, and the completion queue's tag.
//
// Included by server.cc alone; used on the thread that serves the queue. A call deletes itself at its end,
// which always comes, as the queue is drained before the server ends. Without a fault it is answered as it
// comes.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/async_unary_call.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "common/log/log.h"
#include "provider/server/connection_number.h"
#include "provider/server/server_state.h"

namespace kms::provider {

/// A refusal's code as gRPC has it, and its name for the log.
[[nodiscard]] std::pair<grpc::StatusCode, const char*> grpc_code(RefusalCode code);

template <class Method>
class UnaryCall final : public ServerCall {
 public:
  explicit UnaryCall(ServerState& server) : server_(server), responder_(&context_) {
    grpc::ServerCompletionQueue* const queue = server_.queue.get();
    (server_.grpc_service.*Method::arm)(&context_, &request_, &responder_, queue, queue, this);
  }
  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;
  ~UnaryCall() override {
    Method::wipe_secrets(request_, response_);
    if (stage_ != Stage::armed) --server_.in_flight;
  }

  void proceed(bool ok) override {
    if (stage_ == Stage::held) {
      server_.release(*this);
      answer();
      return;
    }
    if (!ok || stage_ == Stage::answering) {
      if (stage_ == Stage::answering && !ok && !decision_.hang) server_.count_cut_off();
      delete this;  // ended: answered, its client gone, or never called before the shutdown
      return;
    }
    ++server_.in_flight;
    came_ = Journal::Clock::now();
    stage_ = Stage::answering;
    server_.arm<Method>();
    if (!server_.faults.any() || !is_held()) answer();
  }

  void cancel_alarm() override { alarm_->Cancel(); }

 private:
  enum class Stage { armed, held, answering };

  /// Asks which faults the call meets, and sets an alarm where one makes it wait.
  bool is_held() {
    decision_ = server_.faults.decide(
        {Method::fault_method, Method::uid(request_), Method::key_id(server_.service, request_)});
    if (decision_.names.empty()) return false;
    log::debug("a call met a fault", {{"method", Method::name}, {"fault", decision_.names}});
    server_.meet(decision_);
    if (!decision_.hang && decision_.delay <= Duration{0}) return false;
    if (decision_.hang) record(Journal::hung);
    alarm_ = std::make_unique<grpc::Alarm>();
    stage_ = Stage::held;
    return server_.hold(*this, [&] { alarm_->Set(server_.queue.get(), end_of_wait(), this); });
  }

  /// A call that hangs ends well after its client has given up: an answer in time would be no hang.
  [[nodiscard]] std::chrono::system_clock::time_point end_of_wait() const {
    using namespace std::chrono_literals;
    const auto now = std::chrono::system_clock::now();
    if (!decision_.hang) return now + std::chrono::ceil<std::chrono::microseconds>(decision_.delay);
    return std::min(context_.deadline(), now + 1h) + 1s;
  }

  void answer() {
    stage_ = Stage::answering;
    if (decision_.hang) {
      server_.count_cut_off();
      return fail(grpc::StatusCode::UNAVAILABLE, "the call hung");
    }
    if (decision_.error) {
      return fail(static_cast<grpc::StatusCode>(decision_.error->first), decision_.error->second);
    }
    if (has_violation(decision_, mock_kms::v1::Fault::AUTHORITY_REFUSED) &&
        context_.ExperimentalGetAuthority() == "localhost") {
      return fail(grpc::StatusCode::UNAUTHENTICATED, "there is no such authority here");
    }
    if (const std::optional<Refusal> refusal = true_answer()) {
      const auto [code, code_name] = grpc_code(refusal->code);
      log::info("refused a call", {{"method", Method::name},
                                   {"uid", Method::uid(request_)},
                                   {"code", code_name},
                                   {"cause", refusal->message}});
      return fail(code, refusal->message);
    }
    if (!decision_.names.empty()) Method::distort_answer(server_.service, decision_, request_, response_);
    record(grpc::StatusCode::OK);
    responder_.Finish(response_, grpc::Status::OK, this);
  }

  void fail(grpc::StatusCode code, const std::string& message) {
    if (!decision_.hang) record(code);
    responder_.FinishWithError({code, message}, this);
  }

  void record(int code) {
    Method::remember_plaintext(server_.journal, code == grpc::StatusCode::OK, request_, response_);
    server_.journal.add({Method::journal_method, code, Method::uid(request_),
                         Method::recorded_key_id(request_, response_), request_.ByteSizeLong(),
                         response_.ByteSizeLong(), came_, decision_.names,
                         connection_number(context_.c_call(), server_.connections)});
  }

  std::optional<Refusal> true_answer() {
    try {
      return Method::answer(server_.service, decision_, request_, response_);
    } catch (const std::exception& error) {
      return Refusal{RefusalCode::internal, error.what()};
    }
  }

  ServerState& server_;
  grpc::ServerContext context_;
  typename Method::Request request_;
  typename Method::Response response_;
  grpc::ServerAsyncResponseWriter<typename Method::Response> responder_;
  Stage stage_ = Stage::armed;
  Journal::Clock::time_point came_;
  FaultDecision decision_;
  std::unique_ptr<grpc::Alarm> alarm_;
};

template <class Method>
void ServerState::arm() {
  const std::lock_guard lock(arming_mutex);
  if (!draining) new UnaryCall<Method>(*this);  // owned by the queue from here on
}

}  // namespace kms::provider
