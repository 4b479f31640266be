// Lifecycle decides what happens to one supervised plugin: when to start, probe, end, replace and restart it.
//
// Pure: it knows no clock, descriptor, log or thread. The loop (supervisor.h) turns readiness into events,
// carries the actions out, and calls handle(TimePassed) at next_deadline(). Every event names the generation
// (the n-th process, from 1) that it is about; events of processes that are gone are ignored.
//
// At most one process is active: it alone has its turn to accept. Beside it there may be a successor, which
// warms up (a standby, or the new process of a planned restart), and retirees, which were told to end and may
// not accept any more. Invariants, held by tests over millions of random events: one active process at the
// most; never a new one without the end or the retirement of the one before; a stop always ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <variant>
#include <vector>

#include "supervisor/lifecycle/back_off.h"
#include "supervisor/lifecycle/events.h"

namespace kms::supervisor {

using Time = std::chrono::steady_clock::time_point;

struct Policy {
  Duration probe_interval =
      std::chrono::seconds(1);                       ///< from the start of one probe to the start of the next
  Duration probe_timeout = std::chrono::seconds(1);  ///< a probe without an answer by then is silent
  unsigned failure_threshold = 3;                    ///< silent probes in a row that make a process silent
  Duration startup_timeout = std::chrono::seconds(30);   ///< from launch to the first answer
  Duration hang_grace = std::chrono::milliseconds(500);  ///< from TERM to KILL of a silent process
  Duration stop_grace = std::chrono::seconds(10);  ///< from TERM to KILL of one that is stopped or replaced
  bool standby = false;                            ///< keep a successor ready at all times
  bool restart_on_unhealthy = false;  ///< answers that are no good in a row count as silent probes do
  unsigned max_restarts = 0;  ///< more deaths than this within the window end the supervisor; 0: never
  Duration max_restarts_window = std::chrono::minutes(10);
  BackOffPolicy back_off;
};

/// When the next probe is due; none is while one is under way.
struct ProbeSchedule {
  bool under_way = false;
  Time next;
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
  unsigned silent = 0;
};
struct Serving {
  Time launched;
  ProbeSchedule probe;
  unsigned silent = 0;
  unsigned unhealthy = 0;  ///< bad answers in a row
};
struct Ending {
  Time launched;
  bool was_ready;
  EndCause cause;
  Time kill_at;
  bool killed = false;
};
struct Stopping {
  Time launched;
  Time kill_at;
  bool pause;         ///< what follows: Paused, or Stopped
  bool gone = false;  ///< the active process is; retirees may be left
  bool killed = false;
};
struct Paused {};
struct Stopped {};
using State = std::variant<BackingOff, Starting, Serving, Ending, Stopping, Paused, Stopped>;

struct Successor {
  Generation generation;
  Starting process;
  bool ready = false;
};

struct Draining {
  Generation generation;
  Time launched;
  EndCause cause;
  Time kill_at;
  bool killed = false;
};

class Lifecycle {
 public:
  /// Begins as BackingOff with nothing to wait for: the first handle(TimePassed) launches.
  Lifecycle(const Policy& policy, std::uint32_t jitter_seed);

  [[nodiscard]] Actions handle(const Event& event, Time now);

  /// When handle(TimePassed) is next needed; nothing where only other events can change anything.
  [[nodiscard]] std::optional<Time> next_deadline() const;

  /// Whether two processes can be alive at once, as they can where the listening socket is handed down.
  /// Without it a planned restart ends the old process first, and there is no standby. From the next event
  /// on.
  void allow_overlap(bool allowed) { overlap_ = allowed; }

  [[nodiscard]] const State& state() const { return state_; }

  /// The active process' number, or the last one's; 0 before the first.
  [[nodiscard]] Generation generation() const { return active_; }

  [[nodiscard]] const std::optional<Successor>& successor() const { return successor_; }

  /// A planned restart was asked for and is not over yet.
  [[nodiscard]] bool restarting() const { return restart_asked_; }

 private:
  struct Transition;

  [[nodiscard]] bool wants_successor() const;

  Policy policy_;
  BackOff back_off_;
  BackOff successor_back_off_;
  State state_ = BackingOff{};
  std::optional<Successor> successor_;
  Time successor_at_;  ///< when the next one may be launched
  std::vector<Draining> draining_;
  std::deque<Time> deaths_;  ///< of active processes, within the window
  Generation active_ = 0;
  Generation last_ = 0;         ///< the newest process, active or not
  bool restart_asked_ = false;  ///< and not done yet
  bool restart_again_ = false;  ///< another one follows when it is done
  bool overlap_ = false;
};

}  // namespace kms::supervisor
