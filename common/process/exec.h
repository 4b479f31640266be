// What a new process does on its way to becoming a program.
//
// posix_spawn(3) can neither set limits, nor another user, nor PR_SET_PDEATHSIG, nor tell the child its own
// pid, and a program in between that can costs every restart its own loading, some 2 ms. So the child is
// forked, by _Fork(3): gRPC's handlers of fork(2), which are not safe beside its threads, do not run. It has
// a memory of its own, since one that it shared with the caller would be open to the child's user before the
// program is there.
#pragma once

#include <cstddef>
#include <vector>

#include "common/process/spawn.h"

namespace kms::process {

/// All that the child needs, prepared before it is forked.
struct Becoming {
  const char* program;          ///< a path
  char* const* words;           ///< ends with nullptr, as execve(2) wants it
  char* const* variables;       ///< likewise
  const std::vector<int>& fds;  ///< the sources of 0, 1, 2, ..., all above these numbers; the last one, which
                                ///< the program does not get, is where a NotBecome is written
  const Launch& launch;
  pid_t caller;
  char* own_pid;  ///< where its pid is written, room_for_a_pid bytes of a variable; nullptr: nowhere
};

inline constexpr std::size_t room_for_a_pid = sizeof("2147483647");

/// What a child could not do.
struct NotBecome {
  const char* what;  ///< nullptr: the program was not taken
  int error;         ///< errno of that
};

/// To be called in a child of _Fork(3), with all signals blocked; it is async-signal-safe (signal-safety(7)).
/// Becomes the program, which closes the report, or reports why not and ends with code 127.
[[noreturn]] void become(const Becoming& child);

}  // namespace kms::process
