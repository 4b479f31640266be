// CallDeadline ends a gRPC call when its time is over, whatever happens to the wall clock.
//
// gRPC alone does not: its timer thread waits for absolute times of CLOCK_REALTIME (FUTEX_CLOCK_REALTIME), so
// a wall clock that is set back by an hour delays a deadline by an hour. CallDeadline also sets gRPC's own
// deadline, which the server is told.
#pragma once

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/time.h>

#include "common/net/timed_action.h"
#include "common/text/time.h"

namespace kms {

/// Make it before the call starts, and destroy it before the context. A call that it ends has the status
/// CANCELLED or DEADLINE_EXCEEDED.
class CallDeadline {
 public:
  CallDeadline(grpc::ClientContext& context, Duration timeout)
      : until_(SteadyClock::now() + timeout), cancel_(until_, [&context] { context.TryCancel(); }) {
    context.set_deadline(
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(timeout.count(), GPR_TIMESPAN)));
  }

  /// True if the deadline is the reason for the end of a call that has just ended with `status`.
  [[nodiscard]] bool ended(const grpc::Status& status) const {
    const auto code = status.error_code();
    return (code == grpc::StatusCode::DEADLINE_EXCEEDED || code == grpc::StatusCode::CANCELLED) &&
           SteadyClock::now() >= until_;
  }

 private:
  SteadyClock::time_point until_;
  TimedAction cancel_;
};

}  // namespace kms
