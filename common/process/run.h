// run() runs a command to its end and passes on every line that it writes.
//
// Called from any thread. It owns the child, its process group and the pipe during the call. It ends the
// whole group (TERM, a grace, KILL) at the deadline and at a request to stop, and kills what an ended leader
// leaves behind. It runs no shell and reads no output after the child's end.
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
  int stop_fd = -1;                          ///< becomes readable to request a stop; -1: never
};

struct TimedOut {};
struct Stopped {};

/// It ended by itself, at the deadline, or because stop_fd became readable.
using RunEnd = std::variant<ExitStatus, TimedOut, Stopped>;

/// Runs `launch` with stdin from /dev/null. stdout and stderr are one stream, passed to `on_line` without
/// line ends (a line over 64 KiB comes in pieces). launch.fds[3...] are passed on. Throws Error if the
/// command cannot be started. An exception of on_line ends the group and reaches the caller.
[[nodiscard]] RunEnd run(Launch launch, const RunLimits& limits,
                         const std::function<void(std::string_view)>& on_line);

}  // namespace kms::process
