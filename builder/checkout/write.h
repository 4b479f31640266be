// check_out() writes chosen paths of a commit's tree into an empty directory.
//
// Called on any one thread. All names and links are checked before the first byte is written; nothing is
// written outside of the directory and nothing is overwritten. Files are written as they are stored:
// attributes, filters and line-end settings do not apply. Submodules are refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "builder/git/libgit2.h"
#include "builder/git/limits.h"
#include "proto/build_info.pb.h"

namespace kms::builder {

struct CheckedOutPath {
  std::string path;
  std::string id;  ///< of the tree or blob, 40 hex digits
};

struct CheckoutResult {
  std::vector<CheckedOutPath> paths;  ///< in the order of the request
  std::size_t files = 0;
  std::uint64_t bytes = 0;
  std::vector<std::string> unfetched_links;  ///< "LINK is a link to TARGET", outside of the requested paths
};

/// The ids of `paths` in the commit's tree. Throws Error for a missing path, with the nearest name.
[[nodiscard]] std::vector<CheckedOutPath> find_paths(git_repository* objects, const git_oid& commit,
                                                     const std::vector<std::string>& paths);

/// Writes and logs `paths` (each made by source_path()) below `directory`. Throws Error "cannot write ..." or
/// "cannot check out ...", the latter also beyond `limits`. `option` is the one that names the directory.
[[nodiscard]] CheckoutResult check_out(git_repository* objects, const git_oid& commit,
                                       const std::vector<std::string>& paths,
                                       const std::filesystem::path& directory, const Limits& limits = {},
                                       const std::string& option = "--build-dir");

/// Fills BuildInfo::paths.
void record_paths(const std::vector<CheckedOutPath>& paths, mock_kms::v1::BuildInfo& info);

}  // namespace kms::builder
