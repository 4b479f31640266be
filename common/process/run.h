// run() runs a command to its end and hands over every line that it writes.
//
// Called from any one thread; it owns the child, its process group and the pipe for the time of the call. The
// group is ended as a whole (TERM, a grace, KILL) at the deadline, when asked to stop, and when its leader
// has ended but left others behind. It never runs a shell and never reads the child's output beyond its end.
#pragma once

#include <functional>
#include <string_view>
#include <variant>

#include "common/process/exit_status.h"
#include "common/process/spawn.h"
#include "common/text/time.h"

namespace kms::process {

struct RunLimits {
  Duration deadline = Duration::max();       ///< for the whole run
  Duration grace = std::chrono::seconds(2);  ///< between TERM and KILL
  int stop_fd = -1;                          ///< readable when the run is to end; -1: never
};

struct TimedOut {};
struct Stopped {};

/// How it ended: by itself, at the deadline, or because stop_fd became readable.
using RunEnd = std::variant<ExitStatus, TimedOut, Stopped>;

/// Runs `launch` with stdin from /dev/null; stdout and stderr are one stream, given to `on_line` without line
/// ends (a line beyond 64 KiB comes in pieces). launch.fds[3...] are passed on. Throws Error where the
/// command cannot be started; what on_line throws ends the group and goes on to the caller.
[[nodiscard]] RunEnd run(Launch launch, const RunLimits& limits,
                         const std::function<void(std::string_view)>& on_line);

}  // namespace kms::process
