// fetch_dependencies() finds the files that a source needs outside of the fetched paths, and fetches them.
//
// Used on one thread. It follows `replace` in go.mod, `use` and `replace` in go.work, and the paths in
// CMake's add_subdirectory() and include(). It runs nothing of the source.
#pragma once

#include <string>
#include <vector>

#include "builder/compile/toolchain.h"
#include "builder/git/source_tree.h"
#include "builder/run/interruption.h"
#include "builder/run/progress.h"
#include "builder/source/fetch.h"

namespace kms::builder {

/// The action if a source needs more than the requested paths.
enum class Dependencies { fetch, refuse, off };

struct DependencyRequest {
  const FetchRequest& source;  ///< the request of `fetched`
  Dependencies mode;
  BuildSystem system;
  std::vector<std::string>& paths;  ///< grows by the dependencies that the commit holds
};

/// Fetches until nothing is missing. A dependency that the commit does not hold is logged and left to the
/// compiler. Throws Interrupted, and Error, which names all that is missing if `mode` refuses it.
void fetch_dependencies(const DependencyRequest& request, Fetched& fetched, const Interruption& interruption,
                        Progress& progress);

struct Dependency {
  std::string path;       ///< in the repository
  std::string reason;     ///< "provider/CMakeLists.txt says add_subdirectory(../proto)"
  bool optional = false;  ///< needed only if the user's flags make go ignore vendor/
};

/// The dependencies of the project (the first of `paths`) that `paths` do not cover, each path once, as far
/// as the fetched files name them. Throws Interrupted, and Error if a Go module is replaced by a directory
/// outside of the repository or CMake's files name others without end.
[[nodiscard]] std::vector<Dependency> missing_dependencies(const SourceTree& tree,
                                                           const std::vector<std::string>& paths,
                                                           BuildSystem system,
                                                           const Interruption& interruption);

/// The build system of `project`, by the files in its directory. Throws Error if there is none.
[[nodiscard]] BuildSystem detect_system(const SourceTree& tree, const std::string& project);

}  // namespace kms::builder
