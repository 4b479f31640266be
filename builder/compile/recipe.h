// Recipe is what is done with a source: by which build system, for which target, with which words of the
// user.
//
// A value, made from the command line; pure.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kms::builder {

enum class BuildSystem { automatic, cmake, go, make, command };

struct Recipe {
  BuildSystem system = BuildSystem::automatic;
  std::string target;                    ///< CMake's or make's target, and the executable's name
  std::vector<std::string> definitions;  ///< NAME=VALUE for CMake's cache
  std::vector<std::string> flags;        ///< words for cmake, go build or make
  std::vector<std::string> environment;  ///< NAME=VALUE, stronger than what the builder sets
  std::string command;                   ///< for sh -c; BuildSystem::command alone
  bool download_modules = false;         ///< Go's, by a step of its own that has the network
  std::string inputs;                    ///< a digest of what stands beside the source: stamp_of_inputs()
};

/// The directories of one build. The binary never names them.
struct Workplace {
  std::filesystem::path root;     ///< holds all others
  std::filesystem::path source;   ///< where the checkout stands
  std::filesystem::path project;  ///< the directory in it that is compiled
  std::filesystem::path build;    ///< what the tools write
  int lock_fd = -1;               ///< kept open in children where they are not waited for otherwise
};

/// "cmake", "go", ...
[[nodiscard]] const char* name_of(BuildSystem system);

/// The system of that name; nothing where there is none.
[[nodiscard]] std::optional<BuildSystem> system_of(std::string_view name);

}  // namespace kms::builder
