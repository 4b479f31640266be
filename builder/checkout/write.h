// Checkout writes chosen paths of one commit's tree into an empty directory.
//
// Called on any one thread. All names and links of the chosen paths are judged before the first byte is
// written; nothing is written outside of the directory and nothing that exists is overwritten. Files come as
// they are stored: attributes, filters and line-end settings do not apply. Submodules are refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "builder/git/libgit2.h"
#include "builder/git/limits.h"

namespace kms::builder {

struct CheckedOutPath {
  std::string path;
  std::string id;  ///< of its tree or blob, 40 hex digits
};

struct CheckoutResult {
  std::vector<CheckedOutPath> paths;  ///< in the order asked for
  std::size_t files = 0;
  std::uint64_t bytes = 0;
};

/// The ids of `paths` in the commit's tree; a path that is not there is an Error that names what stands
/// beside it.
[[nodiscard]] std::vector<CheckedOutPath> find_paths(git_repository* objects, const git_oid& commit,
                                                     const std::vector<std::string>& paths);

/// Writes `paths` (each made by source_path()) below `directory`, where they are within `limits`. Throws
/// Error "cannot write ..." or "cannot check out ...".
[[nodiscard]] CheckoutResult check_out(git_repository* objects, const git_oid& commit,
                                       const std::vector<std::string>& paths,
                                       const std::filesystem::path& directory, const Limits& limits = {});

}  // namespace kms::builder
