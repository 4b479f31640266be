#include "provider/control/server.h"

#include <grpcpp/alarm.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>

#include "common/log/log.h"
#include "common/net/timed_action.h"
#include "common/net/unix_connection.h"
#include "common/text/protobuf.h"
#include "proto/provider_control.grpc.pb.h"
#include "provider/config/config.h"
#include "provider/faults/presets.h"
#include "provider/kms/listener.h"

namespace kms::provider {

using namespace mock_kms::v1;

namespace {

using Context = grpc::CallbackServerContext;
using Reactor = grpc::ServerUnaryReactor;

constexpr auto idle_timeout = std::chrono::seconds(5);

grpc::Status failed_precondition(std::string message) {
  return {grpc::StatusCode::FAILED_PRECONDITION, std::move(message)};
}

grpc::Status invalid_argument(std::string message) {
  return {grpc::StatusCode::INVALID_ARGUMENT, std::move(message)};
}

/// Runs `work`, which returns a status or nothing, and finishes the call.
template <class Work>
Reactor* answer(Context* context, const Work& work) {
  Reactor* const reactor = context->DefaultReactor();
  grpc::Status status;
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Work>>) {
      work();
    } else {
      status = work();
    }
  } catch (const std::exception& error) {
    status = {grpc::StatusCode::INTERNAL, error.what()};
  }
  reactor->Finish(status);
  return reactor;
}

/// Answers ReadJournal when the journal has an entry or the wait is over. No thread waits: calls that write
/// the journal pay nothing for its readers. It deletes itself.
class JournalRead final : public Reactor {
 public:
  JournalRead(ProviderState& state, const ReadJournalRequest& request, JournalPage& page)
      : state_(state),
        page_(page),
        after_(request.after()),
        until_(Journal::Clock::now() +
               std::chrono::milliseconds(std::min(request.wait_milliseconds(), max_wait_ms))) {
    poll();
  }

  void OnDone() override { delete this; }
  void OnCancel() override { cancelled_ = true; }

 private:
  static constexpr std::uint32_t max_wait_ms = 1000;
  static constexpr auto poll_interval = std::chrono::milliseconds(20);

  void poll() {
    state_.note_ended_faults();
    state_.journal.read(after_, page_);
    if (page_.calls_size() > 0 || cancelled_ || Journal::Clock::now() >= until_) {
      return Finish(grpc::Status::OK);
    }
    const std::lock_guard lock(mutex_);
    next_poll_.reset();
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(gpr_inf_future(GPR_CLOCK_MONOTONIC), [this](bool) { poll(); });
    next_poll_.emplace(SteadyClock::now() + poll_interval, [this] { alarm_->Cancel(); });
  }

  ProviderState& state_;
  JournalPage& page_;
  const std::uint64_t after_;
  const Journal::Clock::time_point until_;
  std::atomic<bool> cancelled_ = false;
  std::mutex mutex_;                    ///< a poll may begin before the one that planned it has ended
  std::unique_ptr<grpc::Alarm> alarm_;  ///< has no time: next_poll_ cancels it
  std::optional<TimedAction> next_poll_;
};

}  // namespace

class ControlServer::Service final : public ProviderControl::CallbackService {
 public:
  Service(ProviderState& state, ScenarioRunner& scenarios, const ConfigFollower* config)
      : state_(state), scenarios_(scenarios), config_(config) {}

  Reactor* Rotate(Context* context, const RotateRequest* request, RotateReply* reply) override {
    return answer(context, [&] { return rotate(*request, *reply); });
  }
  Reactor* ListKeys(Context* context, const ListKeysRequest*, KeyList* list) override {
    return answer(context, [&] { *list->mutable_keys() = state_.versions.state().uses(); });
  }
  Reactor* AddFault(Context* context, const Fault* fault, AddFaultReply* reply) override {
    return answer(context, [&] { return add_fault(*fault, *reply); });
  }
  Reactor* ListFaults(Context* context, const ListFaultsRequest*, FaultList* list) override {
    return answer(context, [&] {
      state_.note_ended_faults();
      *list = state_.faults.list();
    });
  }
  Reactor* ClearFaults(Context* context, const ClearFaultsRequest* request,
                       ClearFaultsReply* reply) override {
    return answer(context, [&] { return clear_faults(request->name(), *reply); });
  }
  Reactor* ReadJournal(Context*, const ReadJournalRequest* request, JournalPage* page) override {
    return new JournalRead(state_, *request, *page);
  }
  Reactor* CountCalls(Context* context, const CountCallsRequest* request, CallCounts* counts) override {
    return answer(context, [&] {
      *counts->mutable_since_start() = to_proto(Journal::Clock::now() - started_);
      if (!request->has_since()) return state_.journal.count_all(*counts);
      state_.journal.count_since(Journal::Clock::now() - from_proto(request->since()), *counts);
    });
  }
  Reactor* ReadMetrics(Context* context, const ReadMetricsRequest*, MetricsReply* reply) override {
    return answer(context, [&] { reply->set_text(metrics_text(state_)); });
  }
  Reactor* LastPlaintexts(Context* context, const LastPlaintextsRequest* request,
                          LastPlaintextsReply* reply) override {
    return answer(context, [&] { state_.journal.last_plaintexts(request->reveal(), *reply); });
  }
  Reactor* ReadConfig(Context* context, const ReadConfigRequest*, ConfigStatus* status) override {
    return answer(context, [&] {
      if (config_ != nullptr) *status = config_->status();
    });
  }
  Reactor* RunScenario(Context* context, const Scenario* scenario, ScenarioStatus* status) override {
    return answer(context, [&] {
      const auto complete = complete_scenario(*scenario);
      if (!complete) return invalid_argument(complete.error().line());
      *status = scenarios_.run(*complete, false);
      return grpc::Status::OK;
    });
  }
  Reactor* ReadScenario(Context* context, const ReadScenarioRequest*, ScenarioStatus* status) override {
    return answer(context, [&] { *status = scenarios_.status(); });
  }
  Reactor* StopScenario(Context* context, const StopScenarioRequest*, ScenarioStatus* status) override {
    return answer(context, [&] {
      if (!scenarios_.stop()) {
        return failed_precondition("there is no scenario to stop; see 'scenario status'");
      }
      *status = scenarios_.status();
      return grpc::Status::OK;
    });
  }

 private:
  grpc::Status rotate(const RotateRequest& request, RotateReply& reply) {
    // The process that replaces this one may have read the version already: the client must ask that one.
    if (state_.stop.pending()) return {grpc::StatusCode::CANCELLED, "this provider is ending"};
    const auto to = request.to() == 0 ? std::nullopt : std::optional<KeyVersion>(request.to());
    const auto rotation = state_.versions.rotate(to, request.force());
    if (!rotation) return failed_precondition(rotation.error().line());
    reply.set_from(rotation->from);
    reply.set_to(rotation->to);
    reply.set_key_id(state_.keys.at(rotation->to)->id_text);
    reply.set_stored(state_.versions.stored());
    return grpc::Status::OK;
  }

  grpc::Status add_fault(const Fault& fault, AddFaultReply& reply) {
    auto complete = complete_fault(fault);
    if (!complete) return invalid_argument(complete.error().line());
    if (complete->has_late_start()) {
      return invalid_argument(
          "a running provider has passed its start, so it cannot start late; use serve --fault");
    }
    const std::string json = to_user_json(*complete);
    state_.note_ended_faults();
    reply = state_.faults.add(*std::move(complete));
    log::info("set a fault", {{"fault", reply.name()}, {"applies_here", reply.applies_here()}});
    state_.journal.note("fault " + reply.name() + " is set: " + json);
    return grpc::Status::OK;
  }

  grpc::Status clear_faults(const std::string& name, ClearFaultsReply& reply) {
    state_.note_ended_faults();
    const auto count = [&](auto selected) {
      const auto list = state_.faults.list();
      return static_cast<std::uint32_t>(
          std::count_if(list.faults().begin(), list.faults().end(), [&](const FaultUse& use) {
            return (name.empty() || use.fault().name() == name) && selected(use);
          }));
    };
    reply.set_over(count([](const FaultUse& use) {
      return use.state() == FaultUse::OVER && use.origin() == FaultUse::COMMAND;
    }));
    reply.set_cleared(state_.faults.clear(name) - reply.over());
    reply.set_kept(count([](const FaultUse&) { return true; }));
    if (reply.cleared() == 0 && reply.over() > 0) return grpc::Status::OK;
    if (reply.cleared() > 0) {
      log::info("cleared faults", {{"fault", name}, {"count", reply.cleared()}});
      state_.journal.note(name.empty() ? "all faults by command are cleared"
                                       : "fault " + name + " is cleared");
      return grpc::Status::OK;
    }
    if (name.empty()) return grpc::Status::OK;
    if (reply.kept() > 0) {
      return failed_precondition(
          "fault '" + name + "' was not set by a command; edit the file of --config, or stop the scenario");
    }
    return {grpc::StatusCode::NOT_FOUND, "there is no fault '" + name + "'; see 'fault list'"};
  }

  const Journal::Clock::time_point started_ = Journal::Clock::now();
  ProviderState& state_;
  ScenarioRunner& scenarios_;
  const ConfigFollower* config_;
};

class ControlServer::Impl {
 public:
  Impl(UnixListener listener, ProviderState& state, ScenarioRunner& scenarios, const ConfigFollower* config)
      : socket_(std::move(listener), {}),
        service_(state, scenarios, config),
        acceptor_(
            socket_.fd(), idle_timeout, admit, [this](UniqueFd connection) { take(std::move(connection)); },
            &socket_) {}

  ~Impl() {
    acceptor_.stop();
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }

 private:
  static bool admit(int connection) {
    if (peer_is_self_or_root(connection)) return true;
    log::warning("refused a connection to the control socket", {{"from", describe_peer(connection)}});
    return false;
  }

  void take(UniqueFd connection) {
    if (!server_) build();
    if (!server_) return;
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = connection.release();
    connections_->HandleNewConnection(&parameters);
  }

  void build() {
    grpc::ServerBuilder builder;
    using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
    connections_ = builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD,
                                                                        grpc::InsecureServerCredentials());
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);  // clients may ping as often as they like
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (!server_) log::error("cannot start the gRPC server of the control socket");
  }

  OwnSocket socket_;
  Service service_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<grpc::Server> server_;  ///< made by the acceptor's thread
  ConnectionAcceptor acceptor_;
};

ControlServer::ControlServer(UnixListener listener, ProviderState& state, ScenarioRunner& scenarios,
                             const ConfigFollower* config)
    : impl_(std::make_unique<Impl>(std::move(listener), state, scenarios, config)) {}
ControlServer::~ControlServer() = default;

}  // namespace kms::provider
