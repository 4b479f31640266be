// CallQueue serves every KMS call of a server from one gRPC completion queue, on one thread.
//
// gRPC's async API with one queue serves more calls per CPU second than its sync and callback servers
// (docs/benchmarks.md). Made, started and finished by the server's thread. The queue's thread runs each
// call: it parses the request, applies faults, asks KmsService and writes the journal. A call that a fault
// delays waits in the queue, not on the thread. A call of an unknown method and a request that does not parse
// are refused, and are in the journal too.
#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "provider/core/provider_state.h"
#include "provider/kms/connection_drainer.h"
#include "provider/kms/methods.h"
#include "provider/kms/service.h"

namespace kms::provider {

class CallQueue {
 public:
  /// Serves KMS v2, and KMS v1 too with `kms_v1`. Borrows its arguments.
  CallQueue(ProviderState& state, const KmsService& service, bool kms_v1, ConnectionDrainer& connections)
      : state_(state), service_(service), kms_v1_(kms_v1), connections_(connections) {}

  /// Registers the service. Call it before the server is built, and start() after that.
  void add_to(grpc::ServerBuilder& builder);
  void start();

  /// True while a call is in flight.
  [[nodiscard]] bool busy() const { return in_flight_ > 0; }

  /// Takes no further calls and answers delayed ones at once. Call it before the server shuts down: gRPC
  /// aborts the process if a call is requested after that.
  void close();

  /// Waits until all calls have ended; the server has shut down. Returns how many calls since close() got no
  /// answer. Only the first call does anything.
  int finish();

 private:
  class Call;
  class UnknownCall;
  template <class Method>
  class UnaryCall;

  template <class SomeCall>
  void await_next();
  [[nodiscard]] bool delay(Call& call, const std::function<void()>& set_alarm);
  void end_delay(Call& call);
  void count_cut_off();
  void apply_faults(const FaultDecision& decision);
  void warn_once(const std::string& method, const std::string& warning);
  void run();

  ProviderState& state_;
  const KmsService& service_;
  const bool kms_v1_;
  ConnectionDrainer& connections_;
  GrpcServices services_;
  grpc::AsyncGenericService unknown_methods_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::thread thread_;

  std::mutex mutex_;  ///< guards closed_ and delayed_
  bool closed_ = false;
  std::set<Call*> delayed_;

  std::uint64_t connections_seen_ = 0;
  std::set<std::string> warned_of_;  ///< a few at most
  std::atomic<int> in_flight_ = 0;
  std::atomic<int> cut_off_ = 0;
};

}  // namespace kms::provider
