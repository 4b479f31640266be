// spawn() is the one place where processes are made.
//
// posix_spawn(3) only, since fork(2) is unsafe in a process with gRPC's threads. A child starts with an empty
// signal mask, default dispositions, exactly the descriptors that are listed and no other. Callable from any
// thread; the caller reaps what it started.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace kms::process {

struct Launch {
  std::vector<std::string> command;      ///< program and arguments; a name without '/' is looked up in PATH
  std::vector<std::string> environment;  ///< all of it, each "NAME=value"
  std::vector<int> fds;                  ///< the child's 0, 1, 2, ... in this order; -1 is /dev/null
  std::string working_directory;         ///< empty: the caller's
  bool new_session = true;               ///< leads a session and process group of its own
};

/// Starts `launch.command`. Throws Error "cannot start <program>: <cause>", with a hint for a program that is
/// missing or not executable.
[[nodiscard]] pid_t spawn(const Launch& launch);

/// This process' own environment, as Launch::environment takes it.
[[nodiscard]] std::vector<std::string> own_environment();

}  // namespace kms::process
