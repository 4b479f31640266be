// build_key() digests everything that decides a binary: two builds with one key give the same binary.
//
// The functions have no state, read the system's list of packages and a few directories, and write nothing.
#pragma once

#include <string>
#include <vector>

#include "builder/compile/recipe.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

/// 64 hex digits. The record gives the paths with their ids, build system, compiler, flags and target; the
/// recipe gives environment, modules and inputs; the machine gives its architecture and the installed
/// libraries. Throws Error.
[[nodiscard]] std::string build_key(const mock_kms::v1::BuildInfo& info, const Recipe& recipe);

/// A digest of the names, sizes, modes and modification times of all files in these paths; "" for no paths.
/// Throws Error if a directory cannot be read.
[[nodiscard]] std::string stamp_of_inputs(const std::vector<std::string>& paths);

/// The installed libraries and compilers, a line each: on Debian the versions of the packages, elsewhere the
/// names, sizes and modification times of the libraries; everywhere those in /usr/local. `root` is "/" except
/// in tests.
[[nodiscard]] std::string installed_libraries(const std::string& root);

}  // namespace kms::builder
