// open_local() opens a repository of this machine. Its objects are read in place.
//
// Any one thread. Nothing is written to the repository, and none of its hooks runs.
#pragma once

#include "builder/source/fetch.h"

namespace kms::builder {

/// Finds the commit of the request's ref, and warns of uncommitted changes. Throws Error, also if a partial
/// clone lacks objects of the request's paths.
[[nodiscard]] Fetched open_local(const FetchRequest& request);

/// Throws Error if a partial clone lacks objects of the request's paths.
void require_local_objects(const FetchRequest& request, const Fetched& fetched);

/// The repository that contains `start`, a file or a directory; "" if there is none.
[[nodiscard]] std::string enclosing_repository(const std::filesystem::path& start);

}  // namespace kms::builder
