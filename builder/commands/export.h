// export_paths() is `builder fetch`: chosen paths of a commit as a directory, and nothing else.
//
// Called once, on the main thread. The directory appears complete or not at all: it is filled beside its
// place under a temporary name and a lock, then renamed. An interruption ends it with Interrupted.
#pragma once

#include <filesystem>

#include "builder/checkout/write.h"
#include "builder/run/progress.h"
#include "builder/source/fetch.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

struct Exported {
  mock_kms::v1::BuildInfo info;  ///< source and transfer; there is no binary
  CheckoutResult checkout;
};

/// `into` is absolute; it does not exist or is an empty directory. `request` has no scratch directory yet.
/// Throws Error, Interrupted.
[[nodiscard]] Exported export_paths(FetchRequest request, const std::filesystem::path& into,
                                    const Interruption& interruption, Progress& progress);

}  // namespace kms::builder
