// cmake_references() lists the other files and directories that a CMake file names.
//
// It reads CMake's syntax (cmake-language(7)) and runs nothing: it ignores conditions, and knows only the
// variables that every project has for its own directories.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kms::builder {

struct CMakeReference {
  enum class Kind { directory, file };  ///< add_subdirectory(), include()
  Kind kind;
  std::string path;  ///< in the repository; may begin with ".."
};

/// The values of CMake's variables, as paths in the repository.
struct CMakeDirectories {
  std::string project;  ///< CMAKE_SOURCE_DIR, PROJECT_SOURCE_DIR
  std::string current;  ///< CMAKE_CURRENT_SOURCE_DIR, the base of relative paths
  std::string file;     ///< CMAKE_CURRENT_LIST_DIR
};

/// The paths that `text` names and that are known without running it. Leaves out modules (`include(CTest)`),
/// absolute paths and other variables.
[[nodiscard]] std::vector<CMakeReference> cmake_references(std::string_view text,
                                                           const CMakeDirectories& directories);

}  // namespace kms::builder
