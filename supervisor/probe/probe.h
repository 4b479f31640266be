// Probe asks the plugin's Status by RPC, as the API server does, and tells an answer from silence.
//
// Owned by a Child, called on the loop's thread. It never decides what a result means for the plugin's life.
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

class DeepProbe;

/// The plugin answered: with a Status, or with a gRPC error of its own ("FAILED_PRECONDITION: key disabled").
struct ProbeAnswer {
  v2::StatusResponse status;  ///< empty where error is set
  std::string error;
  Duration latency{};
  bool privately = false;  ///< over the connection that was handed down to this very process
};

/// Nothing came back in time, or the connection broke.
struct ProbeSilence {
  std::string cause;
  bool broken = false;  ///< there was a connection, and it broke
};

/// What an Encrypt and a Decrypt of a canary gave.
struct DeepAnswer {
  std::string key_id;   ///< that Encrypt named, "" where it failed
  std::string problem;  ///< what is wrong with it, "" for nothing
  Duration latency{};
};

struct ProbeResult {
  Generation generation;
  std::variant<ProbeAnswer, ProbeSilence, DeepAnswer> outcome;
};

/// Why an answer is not the contract's healthy one (rules 10, 12, 13), "" where it is.
[[nodiscard]] std::string fault_of(const ProbeAnswer& answer);

class Probe {
 public:
  /// Called on the queue's thread; must only post to the loop.
  using Sink = std::function<void(ProbeResult)>;

  /// Probes whatever listens at `endpoint`, as any client does.
  Probe(CallQueue& calls, Endpoint endpoint, Sink sink);

  /// Probes over `connection`, whose other end the plugin was given, so that an answer is this process' own.
  /// With `or_endpoint`, a plugin that does not serve it is probed at the endpoint instead.
  Probe(CallQueue& calls, Endpoint endpoint, UniqueFd connection, bool or_endpoint, Sink sink);
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  /// Cancels a call under way; its result still comes to the sink.
  ~Probe();

  /// Sends one Status; the sink gets its result once, within about `timeout`. Not called while another is
  /// under way. With `deep`, a good Status is followed by a deep probe, whose DeepAnswer comes by itself;
  /// none is begun while another is under way.
  void probe(Generation generation, Duration timeout, bool deep = false);

 private:
  using Stub = v2::KeyManagementService::Stub;
  using SharedStub = std::shared_ptr<Stub>;  ///< with the calls that are made on it
  class Call;

  void connect();
  [[nodiscard]] bool use_private();

  CallQueue& calls_;
  Endpoint endpoint_;
  Sink sink_;
  SharedStub stub_;          ///< to the endpoint, made when something listens there
  SharedStub private_stub_;  ///< over the handed-down connection, until it has proven useless
  bool or_endpoint_ = true;
  bool private_asked_last_ = false;
  std::shared_ptr<Call> call_;  ///< the last one
  std::shared_ptr<DeepProbe> deep_probe_;
};

}  // namespace kms::supervisor
