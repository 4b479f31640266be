#include "common/process/reaper.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "common/error.h"

namespace kms::process {

void become_subreaper() {
  if (::getpid() == 1) return;  // qemu's user emulation knows no PR_SET_CHILD_SUBREAPER
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
    throw_errno("become the reaper of orphaned processes");
}

void reap(const std::function<bool(pid_t)>& kills_group,
          const std::function<void(pid_t, ExitStatus)>& on_exit) {
  for (;;) {
    siginfo_t ended{};
    if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
    const pid_t pid = ended.si_pid;
    if (kills_group(pid)) ::kill(-pid, SIGKILL);
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) return;
    on_exit(pid, ExitStatus::from_wait(status));
  }
}

}  // namespace kms::process
