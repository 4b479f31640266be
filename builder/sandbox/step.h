// The sandbox step runs between spawn() and a tool: it enters a Sandbox and starts the tool there.
//
// The builder spawns itself with sandbox_command(). main() calls run_sandbox_step() before anything else, in
// a process of its own with one thread; the step never returns to the builder's other code.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kms::builder {

/// Limits by setrlimit(2) on each process; `processes` counts those of the sandbox' user together. 0 is no
/// limit.
struct ProcessLimits {
  std::uint64_t cpu_seconds = 0;
  std::uint64_t memory = 0;  ///< private bytes (RLIMIT_DATA)
  std::uint64_t processes = 0;
  std::uint64_t file_bytes = 0;  ///< of the longest file that may be written
};

/// The restrictions on a command. It travels to the step as arguments.
struct Sandbox {
  bool open = false;            ///< no restrictions; the other fields do not count
  uid_t user = 0;               ///< the user to become; 0: stays the same
  bool user_namespace = false;  ///< the other namespaces are made inside a user namespace
  bool files = false;           ///< sees `readable` and `writable` alone
  bool processes = false;       ///< sees its own processes alone, and none outlives it
  bool network = false;         ///< has no network
  ProcessLimits limits;
  std::vector<std::string> readable;  ///< absolute; missing ones are left out
  std::vector<std::string> writable;  ///< absolute
  std::string program;  ///< the command's file, run even if the user cannot enter its directory; "": none
};

/// The arguments that run `command` in the sandbox. An empty command only tries to enter it.
[[nodiscard]] std::vector<std::string> sandbox_command(const Sandbox& sandbox,
                                                       const std::vector<std::string>& command);

/// Runs the command if the arguments are from sandbox_command(), and returns the exit code; else empty.
///
/// The command gets no descriptor but the first three. The step stays as its parent, keeps inherited
/// descriptors such as a lock, and ends after the command: with 125 if the sandbox cannot be entered, with
/// 126 if the command cannot be started, each with the reason on stderr. If processes are separated or the
/// builder was killed, it also waits for every other process that the command started.
[[nodiscard]] std::optional<int> run_sandbox_step(int argc, char** argv);

/// private_root.cc: the part of the step that gives the command its own root.
///
/// Mounts a file system in memory as root. The sandbox' readable paths appear in it read-only, the writable
/// ones writable, beside small /tmp and /dev/shm. Needs CAP_SYS_ADMIN in the namespace and Linux 5.12. Throws
/// Error "cannot mount ...".
void enter_private_root(const Sandbox& sandbox);

}  // namespace kms::builder
