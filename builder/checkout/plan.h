// The plan of a checkout: everything that is to be written, judged before anything is.
//
// Called on any one thread; it reads a repository and writes nothing. Trees come from strangers: names,
// links, modes, sizes and counts are all taken for hostile.
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

/// By path below the directory that is written to. A directory stands before what is in it.
using CheckoutPlan = std::map<std::string, PlannedEntry>;

/// Throws Error "cannot check out ...: why" for the first thing that is refused: a name or a link that could
/// lead out of the directory (source_path.h), a submodule, an unknown mode, a name that stands twice in a
/// directory or differs from a link's in case alone, and what is beyond `limits`. Other names that differ in
/// case alone are a warning in the log.
[[nodiscard]] CheckoutPlan plan_checkout(git_repository* objects, const git_oid& commit,
                                         const std::vector<std::string>& paths, const Limits& limits);

/// The commit's tree. Throws git::GitError.
[[nodiscard]] git::Tree root_tree(git_repository* objects, const git_oid& commit);

/// The entry of `path` (not "."). Throws Error that names what stands beside it.
[[nodiscard]] git::TreeEntry find_entry(const git_tree* root, const std::string& path);

}  // namespace kms::builder
