#include "supervisor/control/provider.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>
#include <memory>

#include "common/net/call_deadline.h"
#include "common/net/endpoint.h"
#include "common/net/unix_connection.h"
#include "proto/provider_control.grpc.pb.h"

namespace kms::supervisor {
namespace {

using mock_kms::v1::ProviderControl;

constexpr auto report_timeout = std::chrono::milliseconds(500);
constexpr auto calls_timeout = std::chrono::seconds(2);

/// Empty if nobody listens.
std::unique_ptr<ProviderControl::Stub> connect(const std::string& control) {
  const auto endpoint = Endpoint::parse(control);
  if (!endpoint) return nullptr;
  UniqueFd connection = connect_to(*endpoint);
  if (!connection) return nullptr;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // a journal has any size
  return ProviderControl::NewStub(
      grpc::CreateCustomInsecureChannelFromFd("provider", connection.release(), arguments));
}

/// Calls a method whose request is empty. False if it failed.
template <class Response, class Method>
bool call(ProviderControl::Stub& stub, Method method, std::chrono::milliseconds timeout, Response& response) {
  grpc::ClientContext context;
  const CallDeadline deadline(context, timeout);
  return (stub.*method)(&context, {}, &response).ok();
}

}  // namespace

void add_provider_report(mock_kms::v1::SupervisorStatus& status) {
  const auto stub = connect(status.plugin_control());
  mock_kms::v1::FaultList list;
  if (!stub || !call(*stub, &ProviderControl::Stub::ListFaults, report_timeout, list)) return;
  for (const auto& use : list.faults()) {
    if (use.state() == mock_kms::v1::FaultUse::SET) status.add_injected_faults(use.fault().name());
  }
  mock_kms::v1::ConfigStatus config;
  if (call(*stub, &ProviderControl::Stub::ReadConfig, report_timeout, config) && !config.file().empty())
    *status.mutable_plugin_config() = std::move(config);
}

bool read_provider_calls(const std::string& control, std::vector<mock_kms::v1::CallRecord>& journal,
                         std::vector<mock_kms::v1::CallCount>& counts) {
  const auto stub = connect(control);
  mock_kms::v1::JournalPage page;
  if (!stub || !call(*stub, &ProviderControl::Stub::ReadJournal, calls_timeout, page)) return false;
  for (auto& record : *page.mutable_calls()) journal.push_back(std::move(record));
  mock_kms::v1::CallCounts answer;
  if (!call(*stub, &ProviderControl::Stub::CountCalls, calls_timeout, answer)) return false;
  for (auto& count : *answer.mutable_counts()) counts.push_back(std::move(count));
  return true;
}

}  // namespace kms::supervisor
