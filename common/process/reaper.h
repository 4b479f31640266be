// Reaping: as PID 1 (or a subreaper) a process collects every orphan of its descendants, not only its own
// children.
//
// Called on one thread, after SIGCHLD. Nothing else in the process may wait for children.
#pragma once

#include <sys/types.h>

#include <functional>

#include "common/process/exit_status.h"

namespace kms::process {

/// Makes this process the one that orphaned descendants fall to, as PID 1 is by itself. prctl(2), Linux 3.4.
void become_subreaper();

/// Collects all children that have ended, without waiting for others, and tells each. What is left in a
/// process group that an ended child led is killed before its number can be given to another.
void reap(const std::function<void(pid_t, ExitStatus)>& tell);

}  // namespace kms::process
