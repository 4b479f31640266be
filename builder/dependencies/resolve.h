// The closure is what a source needs outside of the paths that were fetched, found before any compiler runs.
//
// Pure but for reading the tree; used on one thread. Seen are `replace` of go.mod, `use` and `replace` of
// go.work, and CMake's add_subdirectory() and include() by paths. Nothing of the source is run.
#pragma once

#include <string>
#include <vector>

#include "builder/compile/recipe.h"
#include "builder/git/source_tree.h"
#include "builder/run/interruption.h"

namespace kms::builder {

struct Need {
  std::string path;  ///< in the repository
  std::string why;   ///< "provider/CMakeLists.txt says add_subdirectory(../proto)"
};

/// Whether `path` is one of `paths` or below one.
[[nodiscard]] bool is_covered(const std::string& path, const std::vector<std::string>& paths);

/// What the project (the first of `paths`) needs that `paths` do not cover, as far as the files tell that
/// were fetched; each path once. Throws Error where a Go module is replaced by a directory outside of the
/// repository, and where CMake's files lead to others without end; Interrupted.
[[nodiscard]] std::vector<Need> uncovered_needs(const SourceTree& tree, const std::vector<std::string>& paths,
                                                BuildSystem system, const Interruption& interruption);

/// What `project` is built by, by the files that its directory holds. Throws Error where it holds none known.
[[nodiscard]] BuildSystem detect_system(const SourceTree& tree, const std::string& project);

}  // namespace kms::builder
