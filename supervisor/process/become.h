// What a new process does on its way to becoming a program.
//
// It is made as posix_spawn(3) makes one, by clone(2) with CLONE_VM and CLONE_VFORK: nothing is copied, no
// handler of fork(2) runs (gRPC has some, and they are not safe beside its threads), and the caller waits.
// posix_spawn(3) itself can neither set limits, nor another user, nor PR_SET_PDEATHSIG, nor tell the child
// its own pid; a program in between that can costs every restart its own loading, some 2 ms.
#pragma once

#include <sys/types.h>

#include <vector>

#include "supervisor/process/spawn.h"

namespace kms::process {

inline constexpr std::size_t most_digits_of_a_pid = 10;

/// All that the child needs, prepared by the caller; the child writes its failure into it.
struct Becoming {
  const char* program;          ///< a path
  char* const* words;           ///< ends with nullptr, as execve(2) wants it
  char* const* variables;       ///< likewise
  const std::vector<int>& fds;  ///< the sources of 0, 1, 2, ...; all of them lie above these numbers
  const Launch& launch;
  char* pid_digits = nullptr;       ///< where it writes its pid, most_digits_of_a_pid and a null byte
  const char* failed_at = nullptr;  ///< what it could not do; nullptr: the program was not taken
  int error = 0;                    ///< errno of that; 0: it has become the program
};

/// Makes the child and returns its pid once it has become the program or has failed, as `child` says then;
/// one that failed is to be reaped. Throws Error where there is no room for a process.
[[nodiscard]] pid_t start(Becoming& child);

}  // namespace kms::process
