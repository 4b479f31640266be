// exec_request() turns a forked child into a program: it sets descriptors, limits, user and signals, then
// execs.
//
// posix_spawn(3) cannot set limits, a user or PR_SET_PDEATHSIG, nor pass the child its own pid. A helper
// program in between could, but loading it costs some 2 ms per restart. So the child is forked by _Fork(3),
// which does not run gRPC's fork handlers; they are not safe beside its threads. The child has its own
// memory: if it shared the caller's, its user could read the caller before the exec.
#pragma once

#include <cstddef>
#include <vector>

#include "common/process/spawn.h"

namespace kms::process {

/// Everything the child needs, prepared before the fork.
struct ExecRequest {
  const char* program;          ///< a path
  char* const* arguments;       ///< ends with nullptr (execve(2))
  char* const* environment;     ///< ends with nullptr
  const std::vector<int>& fds;  ///< sources of 0, 1, 2, ..., all above these numbers; an ExecFailure is
                                ///< written to the last one, which the program does not get
  const Launch& launch;
  pid_t caller;
  char* own_pid;  ///< receives the child's pid, room_for_a_pid bytes of a variable; nullptr: none does
};

inline constexpr std::size_t room_for_a_pid = sizeof("2147483647");

/// The step that failed in the child.
struct ExecFailure {
  const char* step;  ///< nullptr: execve(2)
  int error;         ///< its errno
};

/// Runs in a child of _Fork(3) with all signals blocked; async-signal-safe (signal-safety(7)). The exec
/// closes the last descriptor. On failure writes an ExecFailure to it and ends with code 127.
[[noreturn]] void exec_request(const ExecRequest& request);

}  // namespace kms::process
