// Isolation sandboxes fetched code during configure, compile and the smoke test.
//
// establish() tries which restrictions the kernel and the container allow, the strictest first, by entering
// the real sandbox: it guesses nothing from versions or capabilities. A value after that; used on one thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/run/interruption.h"
#include "builder/sandbox/step.h"

namespace kms::builder {

/// Root compiles as this user: an id that no distribution gives to anybody (systemd's range for dynamic
/// users).
inline constexpr uid_t compiling_user = 64731;

struct IsolationRequest {
  bool wanted = true;
  bool required = false;              ///< fail unless all restrictions are in force
  std::vector<std::string> readable;  ///< besides the system's programs, headers and libraries
  ProcessLimits limits;
};

/// The directories that the tools write to.
struct ToolDirectories {
  std::vector<std::filesystem::path> work;  ///< the compiling user becomes the owner of all their content
  std::vector<std::filesystem::path> kept;  ///< kept between builds: the user owns only the directories
};

/// A directory to compile in if `build_dir` lies below one that keeps the compiling user out, and nothing can
/// hide that from the user; else "". Throws Interrupted.
[[nodiscard]] std::filesystem::path reachable_directory(const IsolationRequest& request,
                                                        const std::filesystem::path& build_dir,
                                                        const Interruption& interruption);

/// The highest directory of `path` that keeps the compiling user out; "" if there is none.
[[nodiscard]] std::filesystem::path obstacle_above(const std::filesystem::path& path);

class Isolation {
 public:
  /// No restrictions.
  Isolation() = default;

  /// `tools` are absolute paths of programs. Logs the restrictions that are in force. Throws Error if one is
  /// required and denied, Interrupted.
  [[nodiscard]] static Isolation establish(const IsolationRequest& request,
                                           const std::vector<std::string>& tools,
                                           const ToolDirectories& directories,
                                           const Interruption& interruption);

  /// The command that runs `command` isolated. It never inherits the builder's descriptors. `network` allows
  /// network access.
  [[nodiscard]] std::vector<std::string> command(const std::vector<std::string>& command,
                                                 bool network = false) const;

  /// The command that runs `command` isolated, with `program` readable and nothing writable.
  [[nodiscard]] std::vector<std::string> smoke_test(const std::vector<std::string>& command,
                                                    const std::filesystem::path& program) const;

  /// The restrictions in force: "user", "files", "network", "processes", "limits".
  [[nodiscard]] const std::vector<std::string>& in_force() const { return in_force_; }

 private:
  bool on_ = false;
  Sandbox sandbox_;
  std::vector<std::string> in_force_;
};

}  // namespace kms::builder
