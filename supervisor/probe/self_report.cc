#include "supervisor/probe/self_report.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>

#include "common/net/endpoint.h"
#include "common/net/unix_connection.h"
#include "common/text/time.h"
#include "proto/provider_control.grpc.pb.h"

namespace kms::supervisor {
namespace {

constexpr auto patience = std::chrono::milliseconds(500);

using Stub = mock_kms::v1::ProviderControl::Stub;

void add_faults(Stub& stub, grpc::ClientContext& context, mock_kms::v1::SupervisorStatus& status) {
  mock_kms::v1::FaultList list;
  if (!stub.ListFaults(&context, {}, &list).ok()) return;
  for (const auto& use : list.faults()) {
    if (use.applies_here() && !use.over()) status.add_injected_faults(use.fault().name());
  }
}

void add_config(Stub& stub, grpc::ClientContext& context, mock_kms::v1::SupervisorStatus& status) {
  mock_kms::v1::ConfigStatus config;
  if (!stub.ReadConfig(&context, {}, &config).ok() || config.file().empty()) return;
  *status.mutable_plugin_config() = std::move(config);
}

void ask(mock_kms::v1::SupervisorStatus& status) {
  const auto control = Endpoint::parse(status.plugin_control());
  if (!control) return;
  UniqueFd connection = connect_to(*control);
  if (!connection) return;
  const auto stub = mock_kms::v1::ProviderControl::NewStub(
      grpc::CreateCustomInsecureChannelFromFd("provider", connection.release(), {}));
  const auto deadline = std::chrono::system_clock::now() + patience;
  for (const auto add : {add_faults, add_config}) {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    add(*stub, context, status);
  }
}

}  // namespace

void add_self_report(mock_kms::v1::SupervisorStatus& status) {
  if (status.instances_size() == 0) return ask(status);
  for (auto& instance : *status.mutable_instances()) ask(instance);
}

}  // namespace kms::supervisor
