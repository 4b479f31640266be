// What was asked before: the commits whose binary is likely to be in reach, so that little has to be fetched,
// or nothing.
//
// Used on the main thread. It looks tools up in PATH and runs compilers for their version; it writes nothing.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "builder/cache/reuse.h"
#include "builder/compile/recipe.h"
#include "builder/compile/toolchain.h"
#include "builder/dependencies/fetch.h"

namespace kms::builder {

/// Everything that is asked of a commit, as a name for the answer: its paths with all that they need.
[[nodiscard]] std::string question_of(const std::vector<std::string>& paths, BuildSystem system,
                                      Closure closure);

/// Puts on record what `tools` do by `recipe`, and the key that this and the paths on record make. Throws
/// Error.
void record_tools(const Recipe& recipe, const Toolchain& tools, mock_kms::v1::BuildInfo& info);

/// By commit, the record of a build with the tools of today; those that `reuse` offers nothing for are left
/// out. Throws Error, Interrupted.
[[nodiscard]] std::map<std::string, mock_kms::v1::BuildInfo> known_sources(const BuildCache& cache,
                                                                           const std::string& question,
                                                                           Recipe recipe, const Reuse& reuse,
                                                                           const Interruption& interruption);

}  // namespace kms::builder
