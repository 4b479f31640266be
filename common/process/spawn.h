// spawn() is the one place where processes are made.
//
// A child starts with an empty signal mask, default dispositions, exactly the descriptors that are listed and
// no other. Callable from any thread, which waits until the child has become the program or has failed to;
// the caller reaps what it started.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/process/identity.h"

namespace kms::process {

struct Launch {
  std::vector<std::string> command;      ///< program and arguments; a name without '/' is looked up in PATH
  std::vector<std::string> environment;  ///< all of it, each "NAME=value"
  std::vector<int> fds;                  ///< the child's 0, 1, 2, ... in this order; -1 is /dev/null
  std::string working_directory;         ///< empty: the caller's
  bool new_session = true;               ///< leads a session and process group of its own
  bool dies_with_caller = false;         ///< killed when the calling thread ends (PR_SET_PDEATHSIG, prctl(2))
  std::string pid_variable = {};         ///< a variable that is set to the child's own pid; empty: none is
  std::optional<Identity> identity = {};      ///< empty: the caller's own
  std::optional<std::uint64_t> memory = {};   ///< bytes of private memory at most (RLIMIT_DATA, getrlimit(2))
  std::optional<std::uint32_t> threads = {};  ///< processes and threads of its user at most (RLIMIT_NPROC)
};

/// Starts `launch.command`; the program is looked up before its working directory is entered. Throws Error
/// "cannot start <program>: <cause>", with a hint for a program that is missing or not executable, and where
/// it has not begun within 5 s; nothing is left of the child then.
[[nodiscard]] pid_t spawn(const Launch& launch);

/// The file that `program` names: itself where it holds a '/', else the first executable one in PATH; "" for
/// none.
[[nodiscard]] std::string find_program(const std::string& program);

/// This process' own environment, as Launch::environment takes it.
[[nodiscard]] std::vector<std::string> own_environment();

}  // namespace kms::process
