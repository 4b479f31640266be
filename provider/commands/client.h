// Calls to a running plugin or provider, and the options that name it. Used by the commands.
//
// One thread, blocking. A failed call is an Error: invalid_input for a wrong option, unreachable if nothing
// answers in time, failed if the answer is an error.
#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <memory>

#include "common/cli/command_line.h"
#include "common/net/call_deadline.h"
#include "common/net/endpoint.h"
#include "proto/kms_v1.grpc.pb.h"
#include "proto/kms_v2.grpc.pb.h"
#include "proto/provider_control.grpc.pb.h"

namespace kms::provider {

/// Any KMS plugin.
struct PluginOptions {
  std::string socket = "unix:///tmp/kms.socket";
  Duration timeout = std::chrono::seconds(5);
};

/// A mock-kms-provider with its control service.
struct ProviderOptions : PluginOptions {
  std::string control_socket;  ///< empty: the one beside `socket`
};

void add_plugin_options(CLI::App& command, PluginOptions& options);
void add_provider_options(CLI::App& command, ProviderOptions& options);

/// The Error of a wrong option, argument or input.
[[nodiscard]] inline Error bad_input(std::string cause, std::string next_step = "") {
  return {std::move(cause), std::move(next_step), ErrorCode::invalid_input};
}

/// The value. Throws the Error of a failed outcome as one of the input.
template <class T>
[[nodiscard]] T valid_input(Outcome<T> outcome) {
  if (!outcome) throw outcome.error().with(ErrorCode::invalid_input);
  return *std::move(outcome);
}

/// PluginClient makes one call to a plugin, of KMS v2 or v1.
class PluginClient {
 public:
  using Stub = v2::KeyManagementService::Stub;
  using V1Stub = v1beta1::KeyManagementService::Stub;

  explicit PluginClient(const PluginOptions& options) : options_(options) {}

  /// `method` is a member of the stub, `name` its name for people.
  template <class AnyStub, class Request, class Response>
  [[nodiscard]] Response call(const char* name, const Request& request,
                              grpc::Status (AnyStub::*method)(grpc::ClientContext*, const Request&,
                                                              Response*)) {
    AnyStub stub(connect());
    grpc::ClientContext context;
    const CallDeadline deadline(context, options_.timeout);
    Response response;
    check(name, (stub.*method)(&context, request, &response), deadline);
    return response;
  }

 private:
  [[nodiscard]] std::shared_ptr<grpc::Channel> connect() const;
  void check(const char* name, const grpc::Status& status, const CallDeadline& deadline) const;

  PluginOptions options_;
};

/// ControlClient calls a provider's control service over one connection.
class ControlClient {
 public:
  using Stub = mock_kms::v1::ProviderControl::Stub;

  /// Connects at once. If only the KMS socket has a listener, it waits within the timeout for a provider that
  /// is taking over.
  explicit ControlClient(const ProviderOptions& options);

  /// One call within the timeout. If the provider is ending, the first call goes to the next provider: the
  /// ending one cancels late calls, and the kernel breaks off connections that it never accepted. (A killed
  /// provider may have executed the call; a rotation is then followed by another one, never undone.)
  template <class Request, class Response>
  [[nodiscard]] Response call(const Request& request,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*)) {
    const auto until = SteadyClock::now() + options_.timeout;
    Response response;
    grpc::Status status;
    do {
      if (!stub_) connect();
      grpc::ClientContext context;
      const CallDeadline deadline(context, until - SteadyClock::now());
      status = (stub_.get()->*method)(&context, request, &response);
      if (deadline.ended(status)) status = {grpc::DEADLINE_EXCEEDED, "its time is over"};
    } while (leave_ending_provider(status, until));
    check(status);
    answered_ = true;
    return response;
  }

 private:
  void connect();
  /// Disconnects and returns true if the next provider can be called within the timeout.
  bool leave_ending_provider(const grpc::Status& status, SteadyClock::time_point until);
  void check(const grpc::Status& status) const;

  ProviderOptions options_;
  Endpoint endpoint_;
  std::unique_ptr<Stub> stub_;
  bool answered_ = false;
};

}  // namespace kms::provider
