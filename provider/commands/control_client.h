// ControlClient calls a running provider's control service. One thread, blocking.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "common/net/endpoint.h"
#include "proto/provider_control.grpc.pb.h"
#include "provider/commands/control_options.h"
#include "provider/commands/unanswered.h"

namespace kms::provider {

class ControlClient {
 public:
  using Stub = mock_kms::v1::ProviderControl::Stub;

  /// Connects at once; where somebody listens on the KMS socket and nobody on the control socket, it waits
  /// within the timeout for a provider that is taking over. Throws Unanswered where there is no provider, or
  /// the options are wrong.
  explicit ControlClient(const ControlOptions& options);

  /// One call within the timeout. The first one goes to the provider that follows where the one that was
  /// reached is ending: it cancels what comes late, and what it never accepted breaks off. (One that is
  /// killed may have done what it was asked; a rotation is then followed by another, never undone.) Throws
  /// Unanswered unless the answer is a good one.
  template <class Request, class Response>
  [[nodiscard]] Response call(const Request& request,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*)) {
    const auto until = std::chrono::system_clock::now() + options_.timeout;
    Response response;
    grpc::Status status;
    do {
      if (!stub_) connect();
      grpc::ClientContext context;
      context.set_deadline(until);
      status = (stub_.get()->*method)(&context, request, &response);
    } while (is_for_the_next(status, until));
    check(status);
    answered_ = true;
    return response;
  }

 private:
  void connect();
  /// Whether another provider is to be asked; then there is no stub any more.
  bool is_for_the_next(const grpc::Status& status, std::chrono::system_clock::time_point until);
  void check(const grpc::Status& status) const;

  ControlOptions options_;
  std::optional<Endpoint> endpoint_;
  std::unique_ptr<Stub> stub_;
  bool answered_ = false;  ///< once
};

}  // namespace kms::provider
