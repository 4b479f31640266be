// reap() collects ended children. As PID 1, or as a subreaper, a process gets the orphans of its descendants
// too.
//
// Called on one thread, after SIGCHLD. Nothing else in the process may wait for children.
#pragma once

#include <sys/types.h>

#include <functional>

#include "common/process/exit_status.h"

namespace kms::process {

/// Makes this process the new parent of orphaned descendants. PID 1 is that already. prctl(2), Linux 3.4.
void become_subreaper();

/// Collects all ended children, without waiting for others, and calls `on_exit` for each. Before that, if
/// `kills_group(pid)` is true, it kills the rest of the process group that the child led: until the child is
/// collected, the group's number cannot be reused.
void reap(const std::function<bool(pid_t)>& kills_group,
          const std::function<void(pid_t, ExitStatus)>& on_exit);

}  // namespace kms::process
