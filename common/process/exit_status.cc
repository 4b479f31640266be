#include "common/process/exit_status.h"

#include <sys/wait.h>

#include <csignal>
#include <cstring>

namespace kms::process {

ExitStatus ExitStatus::from_wait(int status) {
  if (WIFSIGNALED(status)) return {true, WTERMSIG(status), WCOREDUMP(status) != 0};
  return {false, WEXITSTATUS(status), false};
}

std::string ExitStatus::text() const {
  if (!signaled_) return "exited with code " + std::to_string(value_);
  const char* description = ::sigdescr_np(value_);
  return "killed by " + signal_name(value_) + " (signal " + std::to_string(value_) +
         (description == nullptr ? "" : ", " + std::string(description)) + ")" +
         (core_ ? ", core dumped" : "");
}

}  // namespace kms::process
