// The build key names everything that decides a binary: two builds with one key give the same binary.
//
// Functions without state, any thread. They read the system's list of packages and a few directories' names,
// and write nothing.
#pragma once

#include <string>
#include <vector>

#include "builder/compile/recipe.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

/// 64 hex digits, of the record's paths with their ids, build system, compiler, flags and target, of the
/// recipe's environment, modules and inputs, the machine's architecture and what is installed to link
/// against. Throws Error.
[[nodiscard]] std::string build_key(const mock_kms::v1::BuildInfo& info, const Recipe& recipe);

/// A digest of names, sizes, modes and ages of all that is in these directories and files; "" for none. What
/// is not there counts as that. Throws Error where a directory cannot be read.
[[nodiscard]] std::string stamp_of_inputs(const std::vector<std::string>& paths);

/// What is installed to compile with and to link against, a line each: on Debian the versions of all packages
/// for libraries and development, elsewhere name, size and age of the libraries; everywhere those in
/// /usr/local. `root` is "/" but in tests.
[[nodiscard]] std::string installed_libraries(const std::string& root);

}  // namespace kms::builder
