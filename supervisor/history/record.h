// Record keeps what `supervisor status` tells of the past: states, restarts, ends.
//
// Owned by the loop, on its thread. It decides nothing; its memory is bounded (the last 8 ends). What
// durations are counted from is steady time, which nobody sets.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>

#include "supervisor/instance/process.h"
#include "supervisor/lifecycle/lifecycle.h"

namespace kms::supervisor {

struct Outage {
  pid_t pid;
  std::string cause;  ///< "" where the process has not been reaped yet
  Duration duration;
};

class Record {
 public:
  using WallTime = std::chrono::system_clock::time_point;
  static constexpr int kept_exits = 8;

  explicit Record(WallTime now) : since_(now) {}

  /// Another process has become the active one.
  void active_process_changed(WallTime now) {
    ++active_processes_;
    since_ = now;
  }
  /// What ended gets the duration of the outage that it began, as soon as that is known.
  void ended(mock_kms::v1::Exit end);

  /// Calls are not answered since `now`, because of what became of process `pid`. Nothing where one has begun
  /// already.
  void outage_began(pid_t pid, Time now);

  /// Calls are answered again. The outage that this ends; nothing where there was none.
  [[nodiscard]] std::optional<Outage> outage_over(Time now);

  /// A good Status came.
  void answered_well(Time now) { good_at_ = now; }
  void waiting_until(std::optional<WallTime> next_start) { next_start_ = next_start; }
  /// The newest end and the last lines of its output; "" where there is none.
  [[nodiscard]] std::string termination_message() const;
  void paused_by(std::string requester) { paused_by_ = std::move(requester); }

  /// Notes when the kind of state changes; called after every event. A pause is nobody's outage.
  void entered(const State& state, WallTime now);

  /// Fills state, health, reason, restarts and exits. `active` is the active process, nullptr where there is
  /// none. `unreachable` says why clients do not come to a process that answers the supervisor's own probes,
  /// "" where they do.
  void fill(mock_kms::v1::SupervisorStatus& status, const Child* active, const std::string& unreachable,
            Time now) const;

 private:
  struct BeganOutage {
    pid_t pid;
    Time began;
  };

  [[nodiscard]] std::string reason(const Child* active, const std::string& unreachable) const;
  [[nodiscard]] mock_kms::v1::Exit* exit_of(pid_t pid);

  mock_kms::v1::State state_ = mock_kms::v1::STARTING;
  WallTime since_;
  unsigned active_processes_ = 0;
  std::optional<WallTime> next_start_;
  std::string paused_by_;
  std::optional<Time> good_at_;
  std::optional<BeganOutage> outage_;
  std::optional<Outage> last_outage_;     ///< whose process may not have been reaped yet
  std::deque<mock_kms::v1::Exit> exits_;  ///< newest first
};

/// Why a process ended, for people: the cause as the lifecycle knows it and what the exit status adds.
[[nodiscard]] std::string cause_text(EndCause cause, const std::optional<process::ExitStatus>& status,
                                     const Policy& policy);

/// Who sent a SIGKILL that the supervisor did not send. `counter` is the file in which the kernel counts its
/// out-of-memory kills, "" where there is none.
[[nodiscard]] std::string cause_of_kill(bool out_of_memory, const std::string& counter);

}  // namespace kms::supervisor
