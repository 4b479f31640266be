// spawn() starts a process. Nothing else in the project does.
//
// A child starts with an empty signal mask, default dispositions, and exactly the listed descriptors.
// Callable from any thread; it returns once the program runs. The caller reaps the process.
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
  std::vector<std::string> environment;  ///< the whole one, each "NAME=value"
  std::vector<int> fds;                  ///< the child's 0, 1, 2, ... in this order; -1 is /dev/null
  std::string working_directory;         ///< empty: the caller's
  bool new_session = true;               ///< leads its own session and process group
  bool dies_with_caller = false;         ///< killed when the calling thread ends (PR_SET_PDEATHSIG, prctl(2))
  std::string pid_variable = {};         ///< a variable that gets the child's own pid; "": none
  std::optional<Identity> identity = {};      ///< empty: the caller's
  std::optional<std::uint64_t> memory = {};   ///< max. bytes of private memory (RLIMIT_DATA, getrlimit(2))
  std::optional<std::uint32_t> threads = {};  ///< max. processes and threads of its user (RLIMIT_NPROC)
};

/// Starts `launch.command`. The program is looked up before the working directory is entered. Throws Error
/// "cannot start PROGRAM: CAUSE; NEXT STEP", also if the program does not run within 5 s. No child is left
/// after an error.
[[nodiscard]] pid_t spawn(const Launch& launch);

/// The file that `program` names: itself if it contains a '/', else the first executable one in PATH; "" if
/// there is none.
[[nodiscard]] std::string find_program(const std::string& program);

/// This process' environment, for Launch::environment.
[[nodiscard]] std::vector<std::string> own_environment();

}  // namespace kms::process
