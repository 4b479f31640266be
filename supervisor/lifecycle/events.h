// The language between Lifecycle, which decides, and the loop, which does: events go in, actions come out.
//
// Values without behaviour. Each names the generation it is about: the n-th process of one supervisor,
// from 1.
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

struct LaunchFailed {
  Generation generation;
  std::string cause;
};
struct Exited {
  Generation generation;
  process::ExitStatus status;
};
struct Answered {
  Generation generation;
  bool good;  ///< all that was asked is answered as the contract wants it
};
struct Unresponsive {
  Generation generation;
};
struct TimePassed {};
struct StopRequested {
  int signal;
};
/// A planned restart: the new process first, where two can be alive at once.
struct RestartRequested {};
/// End the plugin and start none until asked to.
struct PauseRequested {};
struct ResumeRequested {};
using Event = std::variant<LaunchFailed, Exited, Answered, Unresponsive, TimePassed, StopRequested,
                           RestartRequested, PauseRequested, ResumeRequested>;

struct Launch {
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
struct ReportUnresponsive {
  Generation generation;
  EndCause cause;
};
struct ReportEnd {
  Generation generation;
  EndCause cause;
  Duration lived;
  std::optional<Duration> restart_in;
};
struct Finish {
  bool clean;
};  ///< clean: the process ended within its grace
/// Lets this process accept connections.
struct Activate {
  Generation generation;
};
/// A process that waited beside the active one has taken its place.
struct ReportPromoted {
  Generation generation;
};
/// All planned restarts that were asked for are over; `problem` says why nothing was replaced, "" where it
/// was.
struct ReportRestart {
  std::string problem;
};
using Action = std::variant<Launch, Activate, SendSignal, StartProbe, ReportReady, ReportUnresponsive,
                            ReportPromoted, ReportEnd, ReportRestart, Finish>;
using Actions = std::vector<Action>;

}  // namespace kms::supervisor
