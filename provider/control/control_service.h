// ControlService is the control service's side of gRPC: it reads each request, has it done and writes the
// answer.
//
// Called by gRPC's threads, several at once. It owns nothing and decides nothing.
#pragma once

#include "proto/provider_control.grpc.pb.h"
#include "provider/control/control_server.h"

namespace kms::provider {

class ControlService final : public mock_kms::v1::ProviderControl::Service {
 public:
  explicit ControlService(Controlled controlled) : controlled_(controlled) {}

  grpc::Status Rotate(grpc::ServerContext*, const mock_kms::v1::RotateRequest* request,
                      mock_kms::v1::RotateReply* reply) override;
  grpc::Status ListKeys(grpc::ServerContext*, const mock_kms::v1::ListKeysRequest*,
                        mock_kms::v1::KeyList* list) override;

  grpc::Status AddFault(grpc::ServerContext*, const mock_kms::v1::Fault* fault,
                        mock_kms::v1::AddFaultReply* reply) override;
  grpc::Status ListFaults(grpc::ServerContext*, const mock_kms::v1::ListFaultsRequest*,
                          mock_kms::v1::FaultList* list) override;
  grpc::Status ClearFaults(grpc::ServerContext*, const mock_kms::v1::ClearFaultsRequest* request,
                           mock_kms::v1::ClearFaultsReply* reply) override;
  grpc::Status ReadJournal(grpc::ServerContext*, const mock_kms::v1::ReadJournalRequest* request,
                           mock_kms::v1::JournalPage* page) override;
  grpc::Status CountCalls(grpc::ServerContext*, const mock_kms::v1::CountCallsRequest* request,
                          mock_kms::v1::CallCounts* counts) override;
  grpc::Status ReadMetrics(grpc::ServerContext*, const mock_kms::v1::ReadMetricsRequest*,
                           mock_kms::v1::MetricsReply* reply) override;
  grpc::Status LastPlaintexts(grpc::ServerContext*, const mock_kms::v1::LastPlaintextsRequest* request,
                              mock_kms::v1::LastPlaintextsReply* reply) override;
  grpc::Status ReadConfig(grpc::ServerContext*, const mock_kms::v1::ReadConfigRequest*,
                          mock_kms::v1::ConfigStatus* status) override;
  grpc::Status RunScenario(grpc::ServerContext*, const mock_kms::v1::Scenario* scenario,
                           mock_kms::v1::ScenarioStatus* status) override;
  grpc::Status ReadScenario(grpc::ServerContext*, const mock_kms::v1::ReadScenarioRequest*,
                            mock_kms::v1::ScenarioStatus* status) override;
  grpc::Status StopScenario(grpc::ServerContext*, const mock_kms::v1::StopScenarioRequest*,
                            mock_kms::v1::ScenarioStatus* status) override;

 private:
  Controlled controlled_;
};

}  // namespace kms::provider
