#include "builder/git/libgit2.h"

#include <array>

namespace kms::builder::git {

namespace {

/// Ignores the user's and the system's git configuration. Its url.X.insteadOf would replace the requested
/// repository, and a file that cannot be read or parsed would end the fetch.
void ignore_configuration() {
  for (const int level : {GIT_CONFIG_LEVEL_PROGRAMDATA, GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG,
                          GIT_CONFIG_LEVEL_GLOBAL}) {
    git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, level, "");
  }
}

}  // namespace

void prepare_library() {
  static const bool once = [] {
    if (git_libgit2_init() < 0) throw Error("cannot set libgit2 up: " + last_error_text());
    // libgit2 refuses repositories of other owners because tools would obey their configuration and hooks.
    // The builder only reads objects, and in a container a mounted checkout nearly always has another owner.
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    ignore_configuration();
    // These change nothing about how objects and refs are read (gitrepository-layout(5)).
    std::array<const char*, 4> extensions{"partialclone", "preciousobjects", "relativeworktrees",
                                          "worktreeconfig"};
    git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, extensions.data(), extensions.size());
    return true;
  }();
  static_cast<void>(once);
}

std::string last_error_text() {
  const git_error* error = git_error_last();
  return error == nullptr || error->message == nullptr ? "" : without_controls(error->message, ' ');
}

void check(int code, const std::string& verb_and_object) {
  if (code >= 0) return;
  const git_error* error = git_error_last();
  const std::string text = last_error_text();
  throw GitError(
      {"cannot " + verb_and_object + ": " + (text.empty() ? "libgit2 code " + std::to_string(code) : text),
       "check the repository by `git fsck`, run by the builder's user"},
      code, error == nullptr ? GIT_ERROR_NONE : error->klass);
}

std::string hex(const git_oid& id) {
  std::array<char, 41> text{};
  git_oid_tostr(text.data(), text.size(), &id);
  return text.data();
}

}  // namespace kms::builder::git
