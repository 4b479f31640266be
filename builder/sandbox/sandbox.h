// Sandbox says what a command is kept from, and travels as words from the builder to the step that does it.
//
// The builder spawns itself with sandbox_command(); main hands over to run_sandbox_step() (sandbox_step.h)
// before anything else. A value; pure; safe from any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kms::builder {

/// For each process but `processes`, as setrlimit(2) has them. 0 is no limit.
struct ProcessLimits {
  std::uint64_t cpu_seconds = 0;
  std::uint64_t memory = 0;      ///< bytes that are its own (RLIMIT_DATA)
  std::uint64_t processes = 0;   ///< of the sandbox' user, all together
  std::uint64_t file_bytes = 0;  ///< of the longest file that may be written
};

struct Sandbox {
  bool open = false;            ///< nothing is entered; the rest does not count
  uid_t user = 0;               ///< who to become; 0: it stays who it is
  bool user_namespace = false;  ///< the namespaces need one around them
  bool files = false;           ///< it sees `readable` and `writable` alone
  bool processes = false;       ///< it sees its own processes alone, and none outlives it
  bool network = false;         ///< it has none
  ProcessLimits limits;
  std::vector<std::string> readable;  ///< absolute; what is not there is left out
  std::vector<std::string> writable;  ///< absolute
};

/// The words that run `command` in the sandbox; with an empty one they only try whether that can be done.
[[nodiscard]] std::vector<std::string> sandbox_command(const Sandbox& sandbox,
                                                       const std::vector<std::string>& command);

/// Whether these are such words.
[[nodiscard]] bool is_sandbox_step(int argc, const char* const* argv);

/// What sandbox_command() was given; `command` becomes the index of its first word. Throws Error.
[[nodiscard]] Sandbox read_sandbox(int argc, const char* const* argv, int& command);

}  // namespace kms::builder
