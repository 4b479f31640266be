// The CPU time of a process in nanoseconds. /proc/PID/stat counts in steps of 10 ms only.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <ctime>
#include <string>

#include "common/error.h"

namespace kms::bench {

/// The sum of all threads, including those that ended (clock_getcpuclockid(3)).
inline std::chrono::nanoseconds cpu_time_of(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  if (const int error = ::clock_getcpuclockid(pid, &clock); error != 0) {
    throw Error("cannot read the CPU time of process " + std::to_string(pid) + ": " + errno_text(error));
  }
  if (::clock_gettime(clock, &used) != 0) throw_errno("read the CPU time of process " + std::to_string(pid));
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

}  // namespace kms::bench
