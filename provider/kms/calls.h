// ServerState is what the calls of a server share: its queue, the service, the faults, and who is in flight.
//
// Included by the server's own files alone. Used on the thread that serves the queue, and on the draining
// one.
#pragma once

#include <grpcpp/completion_queue.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>

#include "provider/faults/faults.h"
#include "provider/journal/journal.h"
#include "provider/server/farewell.h"
#include "provider/server/kms_methods.h"

namespace kms::provider {

class ServerCall {
 public:
  virtual ~ServerCall() = default;
  /// The step that was waited for is done, or (`ok` false) is not going to be.
  virtual void proceed(bool ok) = 0;
  /// Ends the wait of a call that is held.
  virtual void cancel_alarm() = 0;
};

struct ServerState {
  ServerState(const KmsService& the_service, Faults& the_faults, Journal& the_journal)
      : service(the_service), faults(the_faults), journal(the_journal) {}

  const KmsService& service;
  Faults& faults;
  Journal& journal;
  AsyncService grpc_service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  Farewell farewell;

  std::mutex arming_mutex;  ///< guards draining and held: gRPC aborts on what is armed after the shutdown
  bool draining = false;
  std::set<ServerCall*> held;  ///< calls that a fault makes wait

  std::uint64_t connections = 0;  ///< that a call came on, see connection_number()

  std::atomic<int> in_flight = 0;  ///< calls that came and have not ended
  std::atomic<int> cut_off = 0;  ///< of those, the ones that got no answer of their own since the drain began

  template <class Method>
  void arm();

  /// Remembers the call and runs `set_alarm`; false, and neither, where the server is ending.
  template <class SetAlarm>
  bool hold(ServerCall& call, SetAlarm set_alarm) {
    const std::lock_guard lock(arming_mutex);
    if (draining) return false;
    set_alarm();
    held.insert(&call);
    return true;
  }
  void release(ServerCall& call) {
    const std::lock_guard lock(arming_mutex);
    held.erase(&call);
  }
  /// Arms and holds nothing from now on; what is held is answered at once.
  void begin_end() {
    const std::lock_guard lock(arming_mutex);
    draining = true;
    for (ServerCall* call : held) call->cancel_alarm();
  }
  void count_cut_off() {
    const std::lock_guard lock(arming_mutex);
    if (draining) ++cut_off;
  }

  /// Does what a decision asks of the process and its connections; may not return.
  void meet(const FaultDecision& decision);
};

}  // namespace kms::provider
