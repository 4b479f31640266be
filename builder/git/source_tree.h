// SourceTree reads files of a commit as far as they were fetched, without checking them out.
//
// A view on a repository that outlives it; used on one thread.
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

  /// A file's content; nothing where there is none, where it is no plain file, and where it was not fetched.
  [[nodiscard]] std::optional<std::string> read(const std::string& path) const;

  /// Whether the tree holds a file or directory of this name, as far as its directories were fetched. "."
  /// always.
  [[nodiscard]] bool has(const std::string& path) const;

  [[nodiscard]] bool is_file(const std::string& path) const;

 private:
  [[nodiscard]] git::TreeEntry entry(const std::string& path) const;

  /// Null where there is none. The latest one is kept: libgit2 itself parses a large tree anew for each name.
  [[nodiscard]] const git_tree* directory(const std::string& path) const;

  git_repository* objects_;
  git::Tree root_;
  mutable std::string latest_path_;
  mutable git::Tree latest_;
};

}  // namespace kms::builder
