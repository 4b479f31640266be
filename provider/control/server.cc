#include "provider/control/control_service.h"

#include <algorithm>
#include <optional>

#include "common/log/log.h"
#include "common/text/protobuf.h"
#include "provider/faults/presets.h"
#include "provider/server/metrics.h"

namespace kms::provider {
namespace {

grpc::Status refused(const Error& failure) { return {grpc::StatusCode::FAILED_PRECONDITION, failure.line()}; }

}  // namespace

grpc::Status ControlService::Rotate(grpc::ServerContext*, const mock_kms::v1::RotateRequest* request,
                                    mock_kms::v1::RotateReply* reply) try {
  const std::optional<KeyVersion> to =
      request->to() == 0 ? std::nullopt : std::optional<KeyVersion>(request->to());
  // Whoever takes this process' place may have read the version already: it is the one to be asked.
  if (controlled_.stop.pending()) return {grpc::StatusCode::CANCELLED, "this provider is ending"};
  const auto outcome = controlled_.versions.rotate(to, request->force());
  if (!outcome) return refused(outcome.error());
  const auto& rotation = *outcome;
  reply->set_from(rotation.from);
  reply->set_to(rotation.to);
  reply->set_key_id(controlled_.keys.at(rotation.to)->id_text);
  return grpc::Status::OK;
} catch (const std::exception& error) {
  return {grpc::StatusCode::INTERNAL, error.what()};
}

grpc::Status ControlService::ListKeys(grpc::ServerContext*, const mock_kms::v1::ListKeysRequest*,
                                      mock_kms::v1::KeyList* list) {
  *list->mutable_keys() = controlled_.versions.state().uses();
  return grpc::Status::OK;
}

grpc::Status ControlService::AddFault(grpc::ServerContext*, const mock_kms::v1::Fault* fault,
                                      mock_kms::v1::AddFaultReply* reply) {
  auto complete = complete_fault(*fault);
  if (!complete) {
    return {grpc::StatusCode::INVALID_ARGUMENT, complete.error().line()};
  }
  auto& whole = *complete;
  if (whole.has_late_start()) {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            "a late start has passed when a provider runs; start one with serve --fault"};
  }
  const std::string json = to_short_json(whole);
  *reply = controlled_.faults.add(std::move(whole));
  log::info("set a fault", {{"fault", reply->name()}, {"applies_here", reply->applies_here()}});
  controlled_.journal.note("fault " + reply->name() + " is set: " + json);
  return grpc::Status::OK;
}

grpc::Status ControlService::ListFaults(grpc::ServerContext*, const mock_kms::v1::ListFaultsRequest*,
                                        mock_kms::v1::FaultList* list) {
  *list = controlled_.faults.list();
  return grpc::Status::OK;
}

grpc::Status ControlService::ClearFaults(grpc::ServerContext*,
                                         const mock_kms::v1::ClearFaultsRequest* request,
                                         mock_kms::v1::ClearFaultsReply* reply) {
  const std::string& name = request->name();
  reply->set_cleared(controlled_.faults.clear(name));
  const auto list = controlled_.faults.list();
  for (const auto& left : list.faults()) {
    if (name.empty() || left.fault().name() == name) reply->set_kept(reply->kept() + 1);
  }
  if (reply->cleared() > 0) {
    log::info("cleared faults", {{"count", reply->cleared()}});
    controlled_.journal.note(name.empty() ? "all faults by command are cleared"
                                          : "fault " + name + " is cleared");
    return grpc::Status::OK;
  }
  if (name.empty()) return grpc::Status::OK;
  if (reply->kept() > 0) {
    return {grpc::StatusCode::FAILED_PRECONDITION,
            "fault '" + name + "' is not a command's; edit the file of --config, or stop the scenario"};
  }
  return {grpc::StatusCode::NOT_FOUND, "there is no fault '" + name + "'; see 'fault list'"};
}

grpc::Status ControlService::ReadJournal(grpc::ServerContext*,
                                         const mock_kms::v1::ReadJournalRequest* request,
                                         mock_kms::v1::JournalPage* page) {
  const auto wait = std::chrono::milliseconds(std::min(request->wait_milliseconds(), 1000U));
  controlled_.journal.read(request->after(), wait, *page);
  return grpc::Status::OK;
}

grpc::Status ControlService::CountCalls(grpc::ServerContext*, const mock_kms::v1::CountCallsRequest* request,
                                        mock_kms::v1::CallCounts* counts) {
  if (request->has_since()) {
    controlled_.journal.count_since(Journal::Clock::now() - from_proto(request->since()), *counts);
  } else {
    controlled_.journal.count_all(*counts);
  }
  return grpc::Status::OK;
}

grpc::Status ControlService::ReadMetrics(grpc::ServerContext*, const mock_kms::v1::ReadMetricsRequest*,
                                         mock_kms::v1::MetricsReply* reply) {
  reply->set_text(metrics_text(controlled_.journal, controlled_.faults, controlled_.versions));
  return grpc::Status::OK;
}

grpc::Status ControlService::LastPlaintexts(grpc::ServerContext*,
                                            const mock_kms::v1::LastPlaintextsRequest* request,
                                            mock_kms::v1::LastPlaintextsReply* reply) try {
  controlled_.journal.last_plaintexts(request->reveal(), *reply);
  return grpc::Status::OK;
} catch (const std::exception& error) {
  return {grpc::StatusCode::INTERNAL, error.what()};
}

grpc::Status ControlService::ReadConfig(grpc::ServerContext*, const mock_kms::v1::ReadConfigRequest*,
                                        mock_kms::v1::ConfigStatus* status) {
  if (controlled_.config != nullptr) *status = controlled_.config->status();
  return grpc::Status::OK;
}

grpc::Status ControlService::RunScenario(grpc::ServerContext*, const mock_kms::v1::Scenario* scenario,
                                         mock_kms::v1::ScenarioStatus* status) {
  const auto complete = complete_scenario(*scenario);
  if (!complete) {
    return {grpc::StatusCode::INVALID_ARGUMENT, complete.error().line()};
  }
  *status = controlled_.runner.run(*complete, false);
  return grpc::Status::OK;
}

grpc::Status ControlService::ReadScenario(grpc::ServerContext*, const mock_kms::v1::ReadScenarioRequest*,
                                          mock_kms::v1::ScenarioStatus* status) {
  *status = controlled_.runner.status();
  return grpc::Status::OK;
}

grpc::Status ControlService::StopScenario(grpc::ServerContext*, const mock_kms::v1::StopScenarioRequest*,
                                          mock_kms::v1::ScenarioStatus* status) {
  if (!controlled_.runner.stop()) {
    return {grpc::StatusCode::FAILED_PRECONDITION, "there is no scenario to stop; see 'scenario status'"};
  }
  *status = controlled_.runner.status();
  return grpc::Status::OK;
}

}  // namespace kms::provider
