// Connects to a plugin as kube-apiserver does, and makes the call that is measured.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>
#include <string>

#include "common/net/endpoint.h"
#include "common/text/time.h"
#include "proto/kms_v2.grpc.pb.h"

namespace kms::bench {

/// The default `timeout` of an EncryptionConfiguration.
inline constexpr std::chrono::seconds call_deadline{3};

/// The redial of grpc-go (backoff.DefaultConfig, and the connection-backoff document that all of gRPC
/// follows).
struct Redial {
  std::chrono::milliseconds first{
      1000};  ///< after the first refused connect; then 1.6 times more each, +-20 %
  std::chrono::milliseconds most{120'000};
};

/// For the instruments' output.
[[nodiscard]] inline double milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

/// A separate connection (not shared with other channels), `:authority: localhost`, redialled by
/// `redial`.
[[nodiscard]] std::shared_ptr<grpc::Channel> plugin_channel(const Endpoint& endpoint, Redial redial = {});

/// The endpoint that `text` names; throws Error if it names none.
[[nodiscard]] Endpoint endpoint_of(const std::string& text);

/// Sets what the API server sets on every call: wait for ready, and a deadline.
void prepare(grpc::ClientContext& context);

/// The API server's Encrypt request: a 32-byte seed and a uid.
[[nodiscard]] v2::EncryptRequest encrypt_request();

}  // namespace kms::bench
