// libgit2's handles as C++ objects, and its error codes as exceptions.
//
// A handle belongs to one thread at a time. libgit2 keeps its last error per thread: call check() on the
// thread that got the code, directly after the call. No exception may cross libgit2's C frames: callbacks
// return codes.
#pragma once

#include <git2.h>
#if __has_include(<git2/sys/errors.h>)
#include <git2/sys/errors.h>  // git_error_set_str since libgit2 1.8
#endif

#include <memory>
#include <string>

#include "common/error.h"
#include "common/free.h"

namespace kms::builder::git {

using Repository = std::unique_ptr<git_repository, Free<git_repository_free>>;
using Database = std::unique_ptr<git_odb, Free<git_odb_free>>;
using Remote = std::unique_ptr<git_remote, Free<git_remote_free>>;
using Object = std::unique_ptr<git_object, Free<git_object_free>>;
using Commit = std::unique_ptr<git_commit, Free<git_commit_free>>;
using Tree = std::unique_ptr<git_tree, Free<git_tree_free>>;
using TreeEntry = std::unique_ptr<git_tree_entry, Free<git_tree_entry_free>>;
using Blob = std::unique_ptr<git_blob, Free<git_blob_free>>;
using Reference = std::unique_ptr<git_reference, Free<git_reference_free>>;

/// An error of libgit2. code() is one of git_error_code, kind() one of git_error_t.
class GitError : public Error {
 public:
  GitError(Error error, int code, int kind) : Error(std::move(error)), code_(code), kind_(kind) {}
  [[nodiscard]] int code() const { return code_; }
  [[nodiscard]] int kind() const { return kind_; }

 private:
  int code_;
  int kind_;
};

/// Sets libgit2 up, once per process, to read no git configuration but that of an opened repository. Any
/// thread calls it before anything else here.
void prepare_library();

/// Throws GitError "cannot VERB OBJECT: libgit2's text" if `code` is negative.
void check(int code, const std::string& verb_and_object);

/// libgit2's text of this thread's last error on one line, "" if there is none.
[[nodiscard]] std::string last_error_text();

/// 40 hex digits.
[[nodiscard]] std::string hex(const git_oid& id);

/// Calls a libgit2 function that makes a handle. Example: `make<Tree>("read a tree", git_tree_lookup,
/// repository, &id)`.
template <class Handle, class Function, class... Arguments>
[[nodiscard]] Handle make(const std::string& verb_and_object, Function function, Arguments... arguments) {
  typename Handle::pointer raw = nullptr;
  check(function(&raw, arguments...), verb_and_object);
  return Handle(raw);
}

/// The same; null if there is no such object.
template <class Handle, class Function, class... Arguments>
[[nodiscard]] Handle find(const std::string& verb_and_object, Function function, Arguments... arguments) {
  typename Handle::pointer raw = nullptr;
  const int code = function(&raw, arguments...);
  if (code != GIT_ENOTFOUND) check(code, verb_and_object);
  return Handle(raw);
}

}  // namespace kms::builder::git
