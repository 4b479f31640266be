// Probe calls the plugin's Status as the API server does, and reports an answer or that the plugin is
// unresponsive. A deep probe also encrypts and decrypts a canary.
//
// Owned by a PluginProcess, used on the loop's thread. Results come to the sink on the CallQueue's thread. A
// Probe does not decide what a result means for the plugin's life.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "common/io/fd.h"
#include "common/net/endpoint.h"
#include "common/text/time.h"
#include "proto/kms_v2.grpc.pb.h"
#include "supervisor/lifecycle/events.h"
#include "supervisor/probe/call.h"

namespace kms::supervisor {

/// The plugin answered with a Status or with a gRPC error of its own ("FAILED_PRECONDITION: key disabled").
struct ProbeAnswer {
  v2::StatusResponse status;  ///< empty if `error` is set
  std::string error;
  Duration latency{};
  bool privately = false;  ///< over the connection that was handed down to this process
};

/// No answer came in time, or the connection broke.
struct ProbeFailure {
  std::string cause;
  bool broken = false;  ///< there was a connection, and it broke
};

/// The result of an Encrypt and a Decrypt of a canary.
struct DeepAnswer {
  std::string key_id;   ///< from Encrypt; empty if it failed
  std::string problem;  ///< empty if there is none
  Duration latency{};
};

struct ProbeResult {
  Generation generation;
  std::variant<ProbeAnswer, ProbeFailure, DeepAnswer> outcome;
};

/// Why an answer is not the contract's healthy one (rules 10, 12, 13); empty if it is.
[[nodiscard]] std::string fault_of(const ProbeAnswer& answer);

class Probe {
 public:
  /// Called on the queue's thread. It must only post to the loop.
  using Sink = std::function<void(ProbeResult)>;

  /// Probes whatever listens at `endpoint`, as any client does.
  Probe(CallQueue& calls, Endpoint endpoint, Sink sink);

  /// Probes over `connection`, whose other end was handed down to the plugin: an answer comes from this
  /// process. With `or_endpoint`, a plugin that does not serve that connection is probed at the endpoint
  /// instead.
  Probe(CallQueue& calls, Endpoint endpoint, UniqueFd connection, bool or_endpoint, Sink sink);
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  /// Cancels a call in progress. Its result still comes to the sink.
  ~Probe();

  /// Sends one Status. The sink gets its result once, within about `timeout`. Do not call it while another is
  /// in progress. With `deep`, a deep probe follows a good Status, and its DeepAnswer comes separately; at
  /// most one deep probe is in progress.
  void probe(Generation generation, Duration timeout, bool deep = false);

 private:
  using SharedStub = std::shared_ptr<v2::KeyManagementService::Stub>;  ///< shared with the calls on it
  class StatusCall;
  class DeepCall;

  void connect();
  [[nodiscard]] bool choose_private();

  CallQueue& calls_;
  Endpoint endpoint_;
  Sink sink_;
  SharedStub stub_;          ///< to the endpoint, made when something listens there
  SharedStub private_stub_;  ///< over the handed-down connection, until the plugin answered elsewhere
  bool or_endpoint_ = true;
  bool private_asked_last_ = false;
  std::shared_ptr<StatusCall> status_call_;  ///< the last one
  std::shared_ptr<DeepCall> deep_call_;
};

}  // namespace kms::supervisor
