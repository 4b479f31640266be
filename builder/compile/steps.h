// The commands that make an executable, for each build system. Pure; safe from any thread.
//
// Deciding is here, running in compile.h. What is decided depends on the recipe, the tools and the
// directories alone: equal input gives an equal binary, wherever and whenever it is compiled.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/compile/recipe.h"
#include "builder/compile/toolchain.h"

namespace kms::builder {

struct BuildStep {
  std::string phase;  ///< "configure", "compile"
  std::string what;   ///< for people: "configure provider"
  std::vector<std::string> command;
  bool network = false;  ///< it fetches, and runs nothing of what it fetched
};

/// In the order to be run, each with Workplace::project as its directory.
[[nodiscard]] std::vector<BuildStep> build_steps(const Recipe& recipe, const Workplace& place,
                                                 const Toolchain& tools);

/// The whole environment of the steps. Nothing of the builder's own is left but PATH, ccache's settings and,
/// with `network`, the proxies.
[[nodiscard]] std::vector<std::string> build_environment(const Recipe& recipe, const Workplace& place,
                                                         const Toolchain& tools, bool network);

/// What the tools are given, as build-info.json records it: independent of where the directories are.
[[nodiscard]] std::vector<std::string> recorded_flags(const Recipe& recipe, const Toolchain& tools);

/// Where the executable may be, below Workplace::root, the likeliest first.
[[nodiscard]] std::vector<std::filesystem::path> executable_places(const Recipe& recipe,
                                                                   const Workplace& place);

/// The directory that is compiled, as the repository names it.
[[nodiscard]] std::string project_name(const Workplace& place);

}  // namespace kms::builder
