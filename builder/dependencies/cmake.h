// Which other files and directories a CMake file names. Pure; safe from any thread.
//
// It reads CMake's syntax (cmake-language(7)) and runs nothing: conditions are not judged, and of variables
// only those are known that every project has for its own directories.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kms::builder {

struct CMakeReference {
  enum class Kind { directory, file };  ///< add_subdirectory(), include()
  Kind kind;
  std::string path;  ///< in the repository, as it comes out: it may begin with ".."
};

/// The directories that variables stand for; in the repository, "." is its root.
struct CMakeDirectories {
  std::string project;  ///< CMAKE_SOURCE_DIR, PROJECT_SOURCE_DIR
  std::string current;  ///< CMAKE_CURRENT_SOURCE_DIR: relative paths start there
  std::string file;     ///< CMAKE_CURRENT_LIST_DIR
};

/// What `text` names by paths that can be told without running it. Modules (`include(CTest)`), absolute paths
/// and other variables are left out.
[[nodiscard]] std::vector<CMakeReference> cmake_references(std::string_view text,
                                                           const CMakeDirectories& directories);

}  // namespace kms::builder
