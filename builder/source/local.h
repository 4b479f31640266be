// A repository of this machine: its objects are read where they are, nothing is fetched.
//
// Called on any one thread. It never writes to the repository and runs none of its hooks.
#pragma once

#include "builder/source/fetch.h"

namespace kms::builder {

/// The commit that the request's ref names in the repository at its path. Throws Error.
[[nodiscard]] Fetched open_local(const FetchRequest& request);

/// The repository that encloses `start` (a file or a directory, or one above), "" where there is none.
[[nodiscard]] std::string enclosing_repository(const std::filesystem::path& start);

}  // namespace kms::builder
