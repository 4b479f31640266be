// Events go into the Lifecycle, actions come out. The Instance makes the events and executes the actions.
//
// Values without behaviour. A generation is the number of a process of one instance, from 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/process/exit_status.h"
#include "common/text/time.h"

namespace kms::supervisor {

using Generation = std::uint64_t;

/// Why a process ended, or why none could be started.
enum class EndCause { exited, unresponsive, never_ready, unhealthy, stop_requested, replaced, launch_failed };

// Events.

struct LaunchFailed {
  Generation generation;
  std::string cause;
};
struct Exited {
  Generation generation;
  process::ExitStatus status;
};
/// A probe was answered.
struct Answered {
  Generation generation;
  bool good;  ///< the answers obey the contract
};
/// A probe got no answer.
struct ProbeFailed {
  Generation generation;
};
struct TimePassed {};
struct StopRequested {
  int signal;
};
/// A planned restart: the new process starts first if two can be alive at once.
struct RestartRequested {};
/// End the plugin and start none until ResumeRequested.
struct PauseRequested {};
struct ResumeRequested {};
using Event = std::variant<LaunchFailed, Exited, Answered, ProbeFailed, TimePassed, StopRequested,
                           RestartRequested, PauseRequested, ResumeRequested>;

// Actions.

struct Launch {
  Generation generation;
};
/// Let this process accept connections.
struct Activate {
  Generation generation;
};
struct SendSignal {
  Generation generation;
  int signal;
};
struct StartProbe {
  Generation generation;
  Duration timeout;
};
struct ReportReady {
  Generation generation;
  Duration after;
};
/// The process is about to be ended.
struct ReportEnding {
  Generation generation;
  EndCause cause;
};
/// A waiting process has become the active one.
struct ReportPromoted {
  Generation generation;
};
struct ReportEnd {
  Generation generation;
  EndCause cause;
  Duration lived;
  std::optional<Duration> restart_in;  ///< empty: no process follows this one
};
/// Answers all requests to restart. `problem` says why the old process stayed; "" if it was replaced.
struct ReportRestart {
  std::string problem;
};
/// The plugin has ended for good.
struct Finish {
  bool clean;  ///< it ended within its grace
};
using Action = std::variant<Launch, Activate, SendSignal, StartProbe, ReportReady, ReportEnding,
                            ReportPromoted, ReportEnd, ReportRestart, Finish>;
using Actions = std::vector<Action>;

}  // namespace kms::supervisor
