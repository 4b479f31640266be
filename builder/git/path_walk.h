// PathWalk finds out which objects are still missing to read some paths of a commit.
//
// Looks at a repository that holds a part of the commit's trees; writes nothing. Used on one thread.
#pragma once

#include <string>
#include <vector>

#include "builder/git/libgit2.h"

namespace kms::builder {

struct Missing {
  bool commit = false;               ///< nothing is known yet
  std::vector<git_oid> directories;  ///< trees on the way to a path that are not there
  std::size_t levels_below = 0;  ///< that those ways go on below them, the longest one's, its end not counted
  std::vector<git_oid> targets;  ///< what the paths mean, where something of it is not there

  [[nodiscard]] bool way_is_known() const { return !commit && directories.empty(); }
  [[nodiscard]] bool nothing() const { return way_is_known() && targets.empty(); }
};

/// "." means the whole tree. A path that the trees do not hold is not missing: who reads it later says so.
[[nodiscard]] Missing missing_objects(git_repository* repository, const git_oid& commit,
                                      const std::vector<std::string>& paths);

}  // namespace kms::builder
