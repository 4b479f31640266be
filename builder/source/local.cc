#include "builder/source/local.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "builder/git/source_tree.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

using Index = std::unique_ptr<git_index, Free<git_index_free>>;
using Config = std::unique_ptr<git_config, Free<git_config_free>>;
using Status = std::unique_ptr<git_status_list, Free<git_status_list_free>>;

std::vector<std::string> all_refs(git_repository* repository) {
  git_strarray list{};
  git::check(git_reference_list(&list, repository), "list the refs");
  std::vector<std::string> names(list.strings, list.strings + list.count);
  git_strarray_dispose(&list);
  return names;
}

/// The first file of a repository that this user may not read; "" if there is none.
std::string unreadable_part(const fs::path& path) {
  constexpr std::array parts{"",     ".git",   ".git/HEAD", ".git/config", ".git/refs", ".git/objects",
                             "HEAD", "config", "refs",      "objects"};
  for (const char* part : parts) {
    const fs::path file = path / part;
    if (::faccessat(AT_FDCWD, file.c_str(), R_OK, AT_EACCESS) < 0 && errno == EACCES) return file.string();
    if (::faccessat(AT_FDCWD, (file / ".").c_str(), X_OK, AT_EACCESS) < 0 && errno == EACCES)
      return file.string();
  }
  return "";
}

/// The next step after libgit2 refused to open a repository.
std::string next_step_for(const std::string& cause) {
  if (cause.find("extensions.objectformat") != std::string::npos ||
      cause.find("unknown object format") != std::string::npos) {
    return "its ids are SHA-256, which libgit2 cannot read: give a repository with SHA-1 ids";
  }
  if (cause.find("extensions.refstorage") != std::string::npos) {
    return "its refs are a reftable, which libgit2 cannot read: run `git refs migrate --ref-format=files` "
           "there, "
           "or give a clone of it";
  }
  if (cause.find("unsupported") != std::string::npos) return "give a clone of it, or its URL";
  return "check it by `git fsck`, run by the builder's user";
}

Error cannot_open(const fs::path& path, int code, const std::string& text) {
  const std::string object = "cannot open " + path.string() + ": ";
  if (const std::string file = unreadable_part(path); !file.empty()) {
    return {object + "Permission denied for " + file, "give this user the right to read it"};
  }
  if (code != GIT_ENOTFOUND) return {object + text, next_step_for(text)};
  return {object + (fs::exists(path) ? "it is not a git repository" : "no such directory"),
          "give --repo a checkout or a bare repository"};
}

/// "remote.origin.promisor" marks a clone that leaves objects to its server.
bool is_partial_clone(git_repository* repository) {
  git_config* raw = nullptr;
  if (git_repository_config_snapshot(&raw, repository) < 0) return false;
  const Config config(raw);
  bool found = false;
  const auto note = [](const git_config_entry* /*entry*/, void* flag) {
    *static_cast<bool*>(flag) = true;
    return 0;
  };
  git_config_foreach_match(raw, "^(remote\\..*\\.promisor|extensions\\.partialclone)$", note, &found);
  return found;
}

/// Finds the commit of a ref in an open repository.
class LocalSource {
 public:
  LocalSource(git_repository* repository, const FetchRequest& request)
      : repository_(repository), request_(request) {}

  [[nodiscard]] git_oid tip() const {
    git_oid id{};
    if (request_.ref.is_commit_id()) {
      git::check(git_oid_fromstr(&id, request_.ref.text().c_str()), "read a commit id");
      if (!find_object(id, request_.ref.text())) throw Error(not_found());
      return id;
    }
    for (const std::string& name : request_.ref.candidates()) {
      const int code = git_reference_name_to_id(&id, repository_, name.c_str());
      if (code == GIT_ENOTFOUND || code == GIT_EINVALIDSPEC) continue;
      git::check(code, "read ref " + name);
      require_object(id, name);
      return id;
    }
    throw Error(not_found());
  }

  void require_objects(const git_oid& commit) const {
    if (!is_partial_clone(repository_)) return;
    const std::vector<std::string> all{"."};
    if (missing_objects(repository_, commit, request_.paths.empty() ? all : request_.paths).nothing()) return;
    throw Error("cannot read the files of commit " + git::hex(commit) + ": " + request_.repository.display() +
                    " is a partial clone that does not hold all of them",
                "check the paths out there by git, or give --repo the URL that it was cloned from");
  }

  /// Warns if files differ from HEAD: it is the commit that is used.
  void warn_of_changes() const {
    if (git_repository_is_bare(repository_) == 1 || !is_checked_out()) return;
    git_index* raw = nullptr;
    git_repository_index(&raw, repository_);
    const Index index(raw);
    std::size_t files = 0;
    std::string first;
    const Status status = changes();
    for (std::size_t i = 0; status && i < git_status_list_entrycount(status.get()); ++i) {
      const git_status_entry* entry = git_status_byindex(status.get(), i);
      if (entry->status == GIT_STATUS_WT_DELETED && !is_deletion(raw, *entry)) continue;
      const git_diff_delta* delta = entry->index_to_workdir ? entry->index_to_workdir : entry->head_to_index;
      if (files++ == 0) first = delta->new_file.path;
    }
    if (files == 0) return;
    log::warning("uncommitted changes are left out",
                 {{"repository", request_.repository.display()}, {"files", files}, {"first", first}});
  }

 private:
  void require_object(const git_oid& id, const std::string& name) const {
    if (find_object(id, name)) return;
    throw Error(
        "cannot read " + name + ": " + request_.repository.display() + " lacks its object " + git::hex(id),
        next_step_for("damage"));
  }

  [[nodiscard]] git::Object find_object(const git_oid& id, const std::string& name) const {
    return git::find<git::Object>("read " + name, git_object_lookup, repository_, &id, GIT_OBJECT_ANY);
  }

  /// True for HEAD and the name of the branch that HEAD is on.
  [[nodiscard]] bool is_checked_out() const {
    if (request_.ref.text() == "HEAD") return true;
    git_reference* raw = nullptr;
    if (git_reference_lookup(&raw, repository_, "HEAD") < 0) return false;
    const git::Reference head(raw);
    const char* branch = git_reference_symbolic_target(raw);
    const std::vector<std::string> names = request_.ref.candidates();
    return branch != nullptr && !names.empty() && names.front() == branch;
  }

  /// True if the file was deleted by somebody, not left out by a sparse checkout.
  [[nodiscard]] static bool is_deletion(git_index* index, const git_status_entry& entry) {
    const git_index_entry* entry_of_index =
        index == nullptr ? nullptr : git_index_get_bypath(index, entry.index_to_workdir->old_file.path, 0);
    return entry_of_index != nullptr && (entry_of_index->flags_extended & GIT_INDEX_ENTRY_SKIP_WORKTREE) == 0;
  }

  [[nodiscard]] Error not_found() const {
    const std::vector<std::string> refs = all_refs(repository_);
    const Error error = request_.ref.not_found(request_.repository.display(), refs);
    if (request_.ref.is_commit_id() && git_repository_is_shallow(repository_) == 1) {
      return {error.cause(), "the repository is shallow: run `git fetch --unshallow` there, or give its URL"};
    }
    if (request_.ref.text() == "HEAD") return unborn_head(refs, error);
    for (const std::string& ref : refs) {
      if (ref.starts_with("refs/remotes/") && ref.ends_with("/" + request_.ref.text())) {
        return {error.cause(), "only a remote has it: give --ref " + ref};
      }
    }
    return error;
  }

  [[nodiscard]] Error unborn_head(const std::vector<std::string>& refs, const Error& error) const {
    git_reference* raw = nullptr;
    if (git_reference_lookup(&raw, repository_, "HEAD") < 0) return error;
    const git::Reference head(raw);
    const char* target = git_reference_symbolic_target(raw);
    if (target == nullptr) return error;
    const std::string next_step =
        refs.empty() ? "commit something" : "give --ref, for example " + refs.front();
    return {"cannot find HEAD: " + request_.repository.display() + " has no commit on " + target, next_step};
  }

  /// Null if libgit2 cannot say.
  [[nodiscard]] Status changes() const {
    std::vector<std::string> paths = request_.paths;
    std::erase(paths, ".");
    std::vector<char*> pointers;
    for (std::string& path : paths) pointers.push_back(path.data());
    git_status_options options{};
    git_status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
    options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
    options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_EXCLUDE_SUBMODULES |
                    GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH;
    if (paths.size() == request_.paths.size()) options.pathspec = {pointers.data(), pointers.size()};
    git_status_list* raw = nullptr;
    if (!fs::exists(fs::path(git_repository_path(repository_)) / "index"))
      return nullptr;  // never checked out
    return git_status_list_new(&raw, repository_, &options) < 0 ? nullptr : Status(raw);
  }

  git_repository* repository_;
  const FetchRequest& request_;
};

}  // namespace

Fetched open_local(const FetchRequest& request) {
  git::prepare_library();
  const std::string& path = request.repository.secret_location();
  git_repository* raw = nullptr;
  const int code = git_repository_open_ext(&raw, path.c_str(), GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr);
  if (code < 0) throw cannot_open(path, code, git::last_error_text());
  Fetched fetched{git::Repository(raw), {}, {}, "local"};
  if (const std::string file = unreadable_part(path); !file.empty()) throw cannot_open(path, 0, "");
  const LocalSource source(raw, request);
  fetched.tip = source.tip();
  fetched.commit = peel_to_commit(raw, fetched.tip, request);
  require_pinned(request, fetched.commit);
  source.require_objects(fetched.commit);
  source.warn_of_changes();
  return fetched;
}

void require_local_objects(const FetchRequest& request, const Fetched& fetched) {
  LocalSource(fetched.objects.get(), request).require_objects(fetched.commit);
}

std::string enclosing_repository(const std::filesystem::path& start) {
  git::prepare_library();
  git_buf found{};
  if (git_repository_discover(&found, start.c_str(), 0, nullptr) < 0) return "";
  fs::path directory(std::string(found.ptr, found.size));
  git_buf_dispose(&found);
  if (!directory.has_filename()) directory = directory.parent_path();
  git_repository* raw = nullptr;
  // The fetch says why it cannot be opened.
  if (git_repository_open(&raw, directory.c_str()) < 0)
    return directory.filename() == ".git" ? directory.parent_path() : directory;
  const git::Repository repository(raw);
  const char* checkout = git_repository_workdir(raw);
  std::string path = checkout == nullptr ? directory.string() : checkout;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

}  // namespace kms::builder
