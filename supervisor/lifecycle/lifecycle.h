// Lifecycle decides when to start, probe, end, replace and restart one supervised plugin.
//
// It knows no clock, descriptor, log or thread. The Instance turns readiness into events, executes the
// actions, and calls handle(TimePassed) at next_deadline(). Events of processes that are gone are ignored.
//
// At most one process is active: only it may accept connections. Beside it there may be a successor, which
// warms up (a standby, or the new process of a planned restart), and draining processes, which were asked to
// end and accept nothing new. Tests hold these invariants over millions of random events:
//   - at most one process is active;
//   - a new one becomes active only after the one before has ended or drains;
//   - a stop always ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "common/retry/backoff.h"
#include "supervisor/lifecycle/events.h"

namespace kms::supervisor {

using Time = std::chrono::steady_clock::time_point;

/// The API server writes for this long under the key it knows, counted from the last good Status (contract,
/// rule 33). An outage must be shorter.
inline constexpr Duration write_lease = std::chrono::seconds(180);

struct RestartDelayPolicy {
  Duration initial = std::chrono::milliseconds(100);  ///< before the second restart, without jitter
  Duration cap = std::chrono::seconds(10);            ///< far below write_lease
  Duration stable_after = std::chrono::seconds(1);    ///< time in service that resets the delay
};

/// The wait before the next start: none after a first death, then a Backoff.
class RestartDelay {
 public:
  RestartDelay(const RestartDelayPolicy& policy, std::uint32_t seed)
      : stable_after_(policy.stable_after), backoff_(policy.initial, policy.cap, seed) {}

  /// `served` is empty if the process never got ready. The wait of a standby does not count.
  [[nodiscard]] Duration next(std::optional<Duration> served) {
    if (served && *served >= stable_after_) {
      first_ = true;
      backoff_.reset();
    }
    return std::exchange(first_, false) ? Duration{0} : backoff_.next();
  }

 private:
  Duration stable_after_;
  bool first_ = true;
  Backoff backoff_;
};

struct Policy {
  Duration probe_interval =
      std::chrono::seconds(1);  ///< from the start of one probe to the start of the next
  Duration probe_timeout = std::chrono::seconds(1);
  unsigned failure_threshold = 3;  ///< unanswered probes in a row that make a process unresponsive
  Duration startup_timeout = std::chrono::seconds(30);   ///< from launch to the first answer
  Duration hang_grace = std::chrono::milliseconds(500);  ///< from TERM to KILL of an unresponsive process
  Duration stop_grace = std::chrono::seconds(10);  ///< from TERM to KILL of one that is stopped or replaced
  bool standby = false;                            ///< keep a successor ready at all times
  bool restart_on_unhealthy = false;               ///< bad answers in a row count as unanswered probes do
  unsigned max_restarts = 0;  ///< more deaths than this within the window end the supervisor; 0: never
  Duration max_restarts_window = std::chrono::minutes(10);
  RestartDelayPolicy restart_delay;
};

struct ProbeSchedule {
  bool in_progress = false;
  Time next;  ///< not used while a probe is in progress
  Time last_start;
};

// The states of the active process.
struct BackingOff {
  Time until;
};
struct Starting {
  Time launched;
  ProbeSchedule probe;
  bool answered = false;
  unsigned unresponsive = 0;  ///< unanswered probes in a row, once it has answered
};
struct Serving {
  Time launched;
  Time since;  ///< the launch, or the take-over of a standby
  ProbeSchedule probe;
  unsigned unresponsive = 0;  ///< unanswered probes in a row
  unsigned unhealthy = 0;     ///< bad answers in a row
};
struct Ending {
  Time launched;
  std::optional<Time> serving_since;  ///< empty: it never got ready
  EndCause cause;
  Time kill_at;
  bool killed = false;
};
struct Stopping {
  Time launched;
  Time kill_at;
  bool pause;         ///< the next state is Paused, else Stopped
  bool gone = false;  ///< the active process has ended; draining ones may be left
  bool killed = false;
};
struct Paused {};
struct Stopped {};
using State = std::variant<BackingOff, Starting, Serving, Ending, Stopping, Paused, Stopped>;

/// A process that warms up beside the active one.
struct Successor {
  Generation generation;
  Starting process;
  std::optional<Time> ready_since = std::nullopt;
};

/// A process that was asked to end and whose place is taken.
struct Draining {
  Generation generation;
  Time launched;
  EndCause cause;
  Time kill_at;
  bool killed = false;
};

class Lifecycle {
 public:
  /// Begins as BackingOff without a wait: the first handle(TimePassed) launches.
  Lifecycle(const Policy& policy, std::uint32_t jitter_seed);

  [[nodiscard]] Actions handle(const Event& event, Time now);

  /// When handle(TimePassed) is needed next; empty if only other events can change anything.
  [[nodiscard]] std::optional<Time> next_deadline() const;

  /// Allows two processes to be alive at once, from the next event on. They can be if the supervisor hands
  /// the listening socket down. Without it a planned restart ends the old process first, and there is no
  /// standby.
  void allow_overlap(bool allowed) { overlap_ = allowed; }

  [[nodiscard]] const State& state() const { return state_; }

  /// The active process' number, or the last one's; 0 before the first.
  [[nodiscard]] Generation generation() const { return active_; }

  [[nodiscard]] const std::optional<Successor>& successor() const { return successor_; }

  /// A planned restart was requested and is not over yet.
  [[nodiscard]] bool restarting() const { return restart_requested_; }

 private:
  struct Transition;

  [[nodiscard]] bool wants_successor() const;

  Policy policy_;
  RestartDelay restart_delay_;
  RestartDelay successor_delay_;
  State state_ = BackingOff{};
  std::optional<Successor> successor_;
  Time successor_at_;  ///< the earliest launch of the next successor
  std::vector<Draining> draining_;
  std::deque<Time> deaths_;  ///< of active processes, within the window
  Generation active_ = 0;
  Generation last_ = 0;             ///< the newest process, active or not
  bool restart_requested_ = false;  ///< and not done yet
  bool restart_again_ = false;      ///< another one follows when it is done
  bool overlap_ = false;
};

}  // namespace kms::supervisor
