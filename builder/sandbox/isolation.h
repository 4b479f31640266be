// Isolation is what fetched code is kept from while it is configured, compiled and proven.
//
// establish() finds out by trying what the kernel and the container allow, strongest first; a value then,
// used on one thread. What it tries is what it does later: no guess from versions or capabilities.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/run/interruption.h"
#include "builder/sandbox/sandbox.h"

namespace kms::builder {

/// Who compiles where the builder is root: an id that no distribution gives to anybody (systemd's range for
/// dynamic users).
inline constexpr uid_t compiling_user = 64731;

struct IsolationRequest {
  bool wanted = true;
  bool required = false;              ///< without all of it nothing is compiled
  std::vector<std::string> readable;  ///< beside the system's programs, headers and libraries
  ProcessLimits limits;
};

/// Directories that the tools write to.
struct ToolDirectories {
  std::vector<std::filesystem::path> work;  ///< given to the compiling user with all that is in them
  std::vector<std::filesystem::path> kept;  ///< from build to build: only they themselves are given
};

class Isolation {
 public:
  /// Keeps nothing from anybody.
  Isolation() = default;

  /// `tools` are absolute paths of programs. Says in one log line what is in force. Throws Error where
  /// something is required and denied, Interrupted.
  [[nodiscard]] static Isolation establish(const IsolationRequest& request,
                                           const std::vector<std::string>& tools,
                                           const ToolDirectories& directories,
                                           const Interruption& interruption);

  /// The words that run `command` under it, without the builder's descriptors even where it is off.
  /// `network`: that one thing is allowed.
  [[nodiscard]] std::vector<std::string> command(const std::vector<std::string>& command,
                                                 bool network = false) const;

  /// The words that run `program` by `command`: it can be read and nothing can be written.
  [[nodiscard]] std::vector<std::string> proof(const std::vector<std::string>& command,
                                               const std::filesystem::path& program) const;

  /// What is in force: "user", "files", "network", "processes", "limits"; none of them where it is off.
  [[nodiscard]] const std::vector<std::string>& in_force() const { return in_force_; }

 private:
  bool on_ = false;
  Sandbox sandbox_;
  std::vector<std::string> in_force_;
};

}  // namespace kms::builder
