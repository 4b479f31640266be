// SourceTree reads files of a commit as far as they were fetched, without checking them out.
// missing_objects() finds what is left to fetch.
//
// Both view a repository that outlives them and write nothing. Used on one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "builder/git/libgit2.h"

namespace kms::builder {

class SourceTree {
 public:
  /// Throws GitError.
  SourceTree(git_repository* objects, const git_oid& commit);

  /// A file's content; empty if it does not exist, is no plain file or was not fetched.
  [[nodiscard]] std::optional<std::string> read(const std::string& path) const;

  /// True if the tree holds a file or directory of this name, as far as its directories were fetched. "."
  /// always exists.
  [[nodiscard]] bool has(const std::string& path) const;

  [[nodiscard]] bool is_file(const std::string& path) const;

  /// The target of a link; empty if `path` is none.
  [[nodiscard]] std::optional<std::string> link_target(const std::string& path) const;

 private:
  [[nodiscard]] git::TreeEntry entry(const std::string& path) const;
  [[nodiscard]] std::optional<std::string> content_of(const git::TreeEntry& entry) const;

  /// Null if there is none. The latest one is kept: libgit2 parses a large tree anew for each name.
  [[nodiscard]] const git_tree* directory(const std::string& path) const;

  git_repository* objects_;
  git::Tree root_;
  mutable std::string latest_path_;
  mutable git::Tree latest_;
};

/// The objects that a repository lacks to read some paths of a commit.
struct Missing {
  bool commit = false;               ///< the commit itself: nothing is known yet
  std::vector<git_oid> directories;  ///< trees above a path
  std::size_t levels_below = 0;      ///< directories between those trees and the deepest path's end
  std::vector<git_oid> targets;      ///< the paths' own objects, if a part of them is missing

  [[nodiscard]] bool directories_are_known() const { return !commit && directories.empty(); }
  [[nodiscard]] bool nothing() const { return directories_are_known() && targets.empty(); }
};

/// "." stands for the whole tree. A path that the trees do not hold is not missing: its reader reports it.
[[nodiscard]] Missing missing_objects(git_repository* repository, const git_oid& commit,
                                      const std::vector<std::string>& paths);

}  // namespace kms::builder
