// A pin is the one commit that may be used, whatever a ref leads to. Pure; any thread.
#pragma once

#include "builder/source/fetch.h"

namespace kms::builder {

/// Throws Error where the request is pinned to another commit than `commit`.
void require_pinned(const FetchRequest& request, const git_oid& commit);

}  // namespace kms::builder
