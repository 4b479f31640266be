// TimedAction runs a function once at a time of the steady clock, whatever happens to the wall clock.
//
// gRPC's alarms are no substitute: its timer thread waits for absolute times of CLOCK_REALTIME. All actions
// of the process run on one thread, which starts with the first of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace kms {

using SteadyClock = std::chrono::steady_clock;

class TimedAction {
 public:
  /// `action` must return at once, must not throw, and must not make or destroy a TimedAction.
  TimedAction(SteadyClock::time_point at, std::function<void()> action);
  TimedAction(const TimedAction&) = delete;
  TimedAction& operator=(const TimedAction&) = delete;
  /// The action does not run after this; an action that is running is waited for.
  ~TimedAction();

 private:
  SteadyClock::time_point at_;
  std::uint64_t number_;  ///< in the order of creation, from 1
};

}  // namespace kms
