// Toolchain is what compiles: the compiler, the program that drives it, and how many jobs at once.
//
// A value that find() makes by looking at PATH and CXX and by asking the compiler for its version; used on
// one thread. It never installs anything.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/compile/recipe.h"
#include "builder/run/interruption.h"

namespace kms::builder {

struct Toolchain {
  std::string driver;            ///< absolute path of cmake, go, make or sh
  std::string generator;         ///< CMake's: "Ninja" or "Unix Makefiles"; "" elsewhere
  std::string compiler;          ///< absolute path; "" where make or a command may need none
  std::string compiler_version;  ///< the first line of its --version
  unsigned jobs = 1;             ///< the processors that this process may use

  /// What `system` needs. Throws Error that names what is missing.
  [[nodiscard]] static Toolchain find(BuildSystem system, const Interruption& interruption);
};

/// Where ccache keeps its objects: $CCACHE_DIR, or a directory in `build_dir`; "" where ccache is not there
/// or off. What fetched code may write to is a directory of its own in it, or it could change what others
/// compile.
[[nodiscard]] std::filesystem::path ccache_directory(const std::filesystem::path& build_dir, bool isolated);

/// The absolute path of a program in PATH, "" where there is none.
[[nodiscard]] std::string find_program(const std::string& name);

}  // namespace kms::builder
