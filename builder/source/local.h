// open_local() opens a repository of this machine. Its objects are read in place.
//
// Any one thread. Nothing is written to the repository, and none of its hooks runs.
#pragma once

#include "builder/source/fetch.h"

namespace kms::builder {

/// Finds the commit of the request's ref. Throws Error.
[[nodiscard]] Fetched open_local(const FetchRequest& request);

/// The repository that contains `start`, a file or a directory; "" if there is none.
[[nodiscard]] std::string enclosing_repository(const std::filesystem::path& start);

}  // namespace kms::builder
