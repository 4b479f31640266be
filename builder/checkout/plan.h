// plan_checkout() checks everything that a checkout will write, before anything is written.
//
// Called on any one thread; it reads a repository and writes nothing. Names, links, modes, sizes and counts
// of a tree are all taken for hostile.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "builder/git/libgit2.h"
#include "builder/git/limits.h"

namespace kms::builder {

struct PlannedEntry {
  git_filemode_t mode;  ///< of a directory, a file, a program or a link
  git_oid id;
};

/// By path below the target directory. A directory comes before its content.
using CheckoutPlan = std::map<std::string, PlannedEntry>;

/// Throws Error "cannot check out ...: CAUSE" for the first entry that is refused:
///   - a name or a link that could lead out of the directory (source_path.h);
///   - a submodule or an unknown mode;
///   - a name that occurs twice in a directory, or differs from a link's in case alone;
///   - anything beyond `limits`.
/// Other names that differ in case alone are logged.
[[nodiscard]] CheckoutPlan plan_checkout(git_repository* objects, const git_oid& commit,
                                         const std::vector<std::string>& paths, const Limits& limits);

/// The commit's tree. Throws git::GitError.
[[nodiscard]] git::Tree root_tree(git_repository* objects, const git_oid& commit);

/// The entry of `path` (not "."). Throws Error with the nearest name if there is none.
[[nodiscard]] git::TreeEntry find_entry(const git_tree* root, const std::string& path);

}  // namespace kms::builder
