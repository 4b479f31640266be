// Recipe says how a source is built; build_steps() turns it into the commands that make the executable.
//
// Values and functions without state, safe from any thread; run.h runs the commands. The commands depend on
// the recipe, the tools and the checkout alone: equal input gives an equal binary on every machine.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "builder/compile/toolchain.h"
#include "common/error.h"

namespace kms::builder {

struct Recipe {
  BuildSystem system = BuildSystem::automatic;
  std::string target;                    ///< CMake's or make's target, and the executable's name
  std::vector<std::string> definitions;  ///< NAME=VALUE for CMake's cache
  std::vector<std::string> flags;        ///< arguments for cmake, go build or make
  std::vector<std::string> environment;  ///< NAME=VALUE; overrides the builder's own variables
  std::string command;                   ///< for sh -c; BuildSystem::command alone
  bool download_modules = false;         ///< Go's, by a step of its own that has the network
  std::string inputs;                    ///< digest of files beside the source: stamp_of_inputs()
};

/// The directories of one build. Their paths do not reach the binary.
struct BuildDirs {
  std::filesystem::path root;     ///< holds all others
  std::filesystem::path source;   ///< the checkout
  std::filesystem::path project;  ///< the directory in it that is compiled
  std::filesystem::path build;    ///< for the tools to write to
  int lock_fd = -1;               ///< children keep it open, so that the lock outlives a killed builder
};

struct BuildStep {
  std::string phase;        ///< "configure", "compile"
  std::string description;  ///< "configure provider"
  std::vector<std::string> command;
  bool network = false;  ///< downloads, and runs nothing of what it downloads
};

/// The steps in their order. Each runs in BuildDirs::project.
[[nodiscard]] std::vector<BuildStep> build_steps(const Recipe& recipe, const BuildDirs& dirs,
                                                 const Toolchain& tools);

/// The whole environment of the steps. It keeps nothing of the builder's own but PATH, ccache's settings and,
/// with `network`, the proxies.
[[nodiscard]] std::vector<std::string> build_environment(const Recipe& recipe, const BuildDirs& dirs,
                                                         const Toolchain& tools, bool network);

/// The tools' arguments for build-info.json, without the paths of the directories.
[[nodiscard]] std::vector<std::string> recorded_flags(const Recipe& recipe, const Toolchain& tools);

/// The possible places of the executable below BuildDirs::root, the likeliest first.
[[nodiscard]] std::vector<std::filesystem::path> executable_places(const Recipe& recipe,
                                                                   const BuildDirs& dirs);

/// N of the line `go 1.N` in go.mod or go.work; 16 if there is none, as go has it.
[[nodiscard]] unsigned go_minor_version(std::string_view text);

/// True if go takes modules from elsewhere although the project has a vendor/, because a go.work is in force.
[[nodiscard]] bool ignores_vendor_for_workspace(const Recipe& recipe, const BuildDirs& dirs,
                                                const Toolchain& tools);

/// Refuses directories whose names the build system takes apart: CMake a list at ';', go its GOPATH at ':'.
Outcome<> check_names(const Recipe& recipe, const BuildDirs& dirs);

/// The compiled directory's path in the repository.
[[nodiscard]] std::string project_name(const BuildDirs& dirs);

}  // namespace kms::builder
