// transfer_source() fetches with a progress bar, logs the fetch and records it in BuildInfo.
//
// Used by all commands, on the main thread.
#pragma once

#include "builder/run/progress.h"
#include "builder/source/fetch.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

/// Fetches, logs and fills the source and transfer fields of `info`. Throws Error, Interrupted.
[[nodiscard]] Fetched transfer_source(const FetchRequest& request, const Interruption& interruption,
                                      Progress& progress, mock_kms::v1::BuildInfo& info);

/// Fetches further paths of the same commit. Throws Error, Interrupted.
void transfer_more(const FetchRequest& request, const std::vector<std::string>& paths, Fetched& fetched,
                   const Interruption& interruption, Progress& progress);

/// Fills BuildInfo::transfer.
void record_transfer(const Fetched& fetched, mock_kms::v1::BuildInfo& info);

/// Fills the source fields, which are known without fetching.
void record_request(const FetchRequest& request, const std::string& commit, mock_kms::v1::BuildInfo& info);

}  // namespace kms::builder
