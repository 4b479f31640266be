// CallDeadline ends a gRPC call when its time is over, whatever happens to the wall clock.
//
// gRPC alone does not: its timer thread waits for absolute times of CLOCK_REALTIME (FUTEX_CLOCK_REALTIME), so
// a wall clock that is set back by an hour delays a deadline by an hour. CallDeadline also sets gRPC's own
// deadline, which the server is told.
#pragma once

#include <grpcpp/client_context.h>

#include <chrono>

#include "common/text/time.h"

namespace kms {

/// Make it before the call starts, and destroy it before the context. A call that it ends has the status
/// CANCELLED or DEADLINE_EXCEEDED.
class CallDeadline {
 public:
  CallDeadline(grpc::ClientContext& context, Duration timeout);
  CallDeadline(const CallDeadline&) = delete;
  CallDeadline& operator=(const CallDeadline&) = delete;
  ~CallDeadline();

  /// True if the deadline is the reason for the end of a call that has just ended with `status`.
  [[nodiscard]] bool ended(const grpc::Status& status) const;

 private:
  std::chrono::steady_clock::time_point until_;
  std::uint64_t number_;  ///< of its entry in the list that the timer thread reads
};

}  // namespace kms
