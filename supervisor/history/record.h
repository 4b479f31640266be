// Record reports what happens to one instance, and keeps what `supervisor status` shows of its past.
//
// The Instance owns it, on the loop's thread. It writes log lines, events and metrics and never decides
// anything. Its memory is bounded (the last 8 ends and 64 key ids). Durations use the steady clock.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "common/log/log.h"
#include "supervisor/history/history.h"
#include "supervisor/history/metrics.h"
#include "supervisor/history/oom_kills.h"
#include "supervisor/lifecycle/lifecycle.h"
#include "supervisor/probe/health.h"

namespace kms::supervisor {

/// A process that ended, or that could not be started.
struct ProcessEnd {
  pid_t pid = 0;  ///< 0: it could not be started
  std::optional<process::ExitStatus> status = {};
  bool answered = false;              ///< to any probe of its life
  bool killed_by_supervisor = false;  ///< the supervisor sent KILL
  std::vector<std::string> last_lines = {};
  std::string launch_error = {};
};

class Record {
 public:
  using WallTime = std::chrono::system_clock::time_point;
  static constexpr int kept_exits = 8;
  static constexpr int kept_keys = 64;

  /// The running process that status shows as the active one.
  struct Running {
    pid_t pid;
    WallTime started;
    const Health* health;
  };

  /// `instance` is its number, 0 for the only one. The references outlive this.
  Record(unsigned instance, const Policy& policy, History& history, Metrics& metrics, OomKills& oom_kills)
      : instance_(instance), policy_(policy), history_(history), metrics_(metrics), oom_kills_(oom_kills) {}

  /// Adds an event to the history and logs it.
  void report(mock_kms::v1::EventKind kind, log::Level level, const std::string& text,
              const log::Fields& details);

  // `active` is true if the call is about the active process.
  void launched(pid_t pid, Generation generation, bool active);
  void became_active();
  void probed(pid_t pid, Health& health, const ProbeResult& result, bool active, Time now);
  void ready(pid_t pid, Duration after, const std::string& handover, bool active, Time now);
  void ending(pid_t pid, EndCause cause, std::optional<Time> last_good_answer, bool active);
  void promoted(pid_t pid, bool ready, Time now);
  void ended(const ReportEnd& end, const ProcessEnd& process, bool active, Time now);
  void not_restarted(const std::string& problem);
  void not_started(const std::string& problem);
  void paused_by(std::string requester) { paused_by_ = std::move(requester); }

  /// Called after every event. A pause ends an outage that nobody waits for any more.
  void entered(const State& state);

  /// Fills state, health, reason, restarts and exits. `running` is empty if there is no active process.
  /// `unreachable` says why clients do not reach a process that answers the supervisor's own probes; "" if
  /// they do.
  void fill(mock_kms::v1::SupervisorStatus& status, const std::optional<Running>& running,
            const std::string& unreachable, Time now) const;

  /// The newest end; nullptr if there is none.
  [[nodiscard]] const mock_kms::v1::Exit* last_exit() const {
    return exits_.empty() ? nullptr : &exits_.front();
  }

 private:
  struct Outage {
    pid_t pid;
    Time began;
    std::string cause;  ///< kept here, since the exit may be forgotten before the outage is over
  };
  struct PastOutage {
    pid_t pid;
    Duration duration;
  };

  [[nodiscard]] std::string cause_of(const ReportEnd& end, const ProcessEnd& process,
                                     bool out_of_memory) const;
  [[nodiscard]] std::string reason(const std::optional<Running>& running,
                                   const std::string& unreachable) const;
  [[nodiscard]] mock_kms::v1::Exit* exit_of(pid_t pid);
  void note_key(pid_t pid, const std::string& key_id);
  void outage_began(pid_t pid, Time since, const std::string& cause);
  void outage_over(pid_t answering, Time now);

  unsigned instance_;
  const Policy& policy_;
  History& history_;
  Metrics& metrics_;
  OomKills& oom_kills_;
  mock_kms::v1::State state_ = mock_kms::v1::STARTING;
  WallTime since_ = std::chrono::system_clock::now();
  unsigned active_processes_ = 0;
  std::optional<WallTime> next_start_;
  std::string paused_by_;
  std::optional<Time> good_at_;   ///< the last good Status
  std::deque<std::string> keys_;  ///< key ids that active processes named, the current one first
  pid_t key_pid_ = 0;             ///< the process that named the current one
  std::string next_key_;          ///< another one, if another process named it and only once so far
  std::optional<Outage> outage_;
  std::optional<PastOutage> last_outage_;  ///< its process may not have been reaped yet
  std::deque<mock_kms::v1::Exit> exits_;   ///< newest first
};

}  // namespace kms::supervisor
