// The step between spawn() and the plugin: what posix_spawn(3) cannot do in the new process.
//
// The supervisor spawns itself with exec_step_command(); main hands over to run_exec_step() before anything
// else, and the process becomes the plugin under the same pid. It never returns to the supervisor's own code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/program/error.h"

namespace kms::process {

/// Whom a process runs as. A value; the groups are resolved before the step, which asks no user database.
struct Identity {
  std::uint32_t user;
  std::uint32_t group;
  std::vector<std::uint32_t> groups;  ///< supplementary ones
};

/// Reads "USER" or "USER:GROUP", names or numbers. Without a group it is the user's own.
[[nodiscard]] Outcome<Identity> find_identity(const std::string& text);

struct ExecStep {
  std::vector<std::string> command;      ///< a name without '/' is looked up in PATH
  std::optional<Identity> identity;      ///< empty: the supervisor's own
  std::optional<std::uint64_t> memory;   ///< bytes of private memory at most (RLIMIT_DATA, getrlimit(2))
  std::optional<std::uint32_t> threads;  ///< processes and threads of its user at most (RLIMIT_NPROC)
  int report_fd = -1;                    ///< descriptor in the new process that gets the cause of a failure
};

/// The words that carry `step` out.
[[nodiscard]] std::vector<std::string> exec_step_command(const ExecStep& step);

/// Whether these are such words.
[[nodiscard]] bool is_exec_step(int argc, const char* const* argv);

/// Asks the kernel to kill this process when the supervisor dies (PR_SET_PDEATHSIG), sets LISTEN_PID to its
/// own pid where sockets are handed down (sd_listen_fds(3)), takes limits and identity on, and becomes the
/// command. Returns an exit code, 126 or 127 as a shell has them, only where that failed; the reason, on one
/// line, went to report_fd.
[[nodiscard]] int run_exec_step(int argc, char** argv);

}  // namespace kms::process
