#include "builder/checkout/plan.h"

#include <set>

#include "builder/git/source_path.h"
#include "common/log/log.h"
#include "common/text/escape.h"
#include "common/text/nearest.h"

namespace kms::builder {
namespace {

constexpr std::size_t max_path = 4000;  ///< bytes, below PATH_MAX: limits the depth of a tree
constexpr std::size_t max_shown = 200;  ///< of a name in a message

/// Limits the memory for paths: an average beyond this is hostile. A few files may have longer paths.
constexpr std::uint64_t path_bytes_per_file = 320;
constexpr std::uint64_t always_allowed_path_bytes = 1'000'000;

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error("cannot check out " + in_quotes(path, max_shown) + ": " + why,
              "choose a commit without it, or narrower --path options");
}

/// The part of `path` that is a link in the tree; "" if none is.
std::string link_in(const git_tree* root, const std::string& path) {
  for (std::size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
    git_tree_entry* raw = nullptr;
    if (git_tree_entry_bypath(&raw, root, path.substr(0, end).c_str()) < 0) return "";
    if (git_tree_entry_filemode(git::TreeEntry(raw).get()) == GIT_FILEMODE_LINK) return path.substr(0, end);
  }
  return "";
}

/// Suggests the nearest name in the tree.
Error no_such_path(const git_tree* root, const std::string& path) {
  if (const std::string link = link_in(root, path); !link.empty())
    return {"cannot find '" + path + "' in the commit's tree: " + in_quotes(link, max_shown) + " is a link",
            "give the link's target by --path"};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < git_tree_entrycount(root); ++i) {
    names.emplace_back(git_tree_entry_name(git_tree_entry_byindex(root, i)));
  }
  const std::string near = nearest(path, names);
  std::string hint = "give paths that `git ls-tree` lists for the commit";
  if (!near.empty()) hint = "did you mean " + in_quotes(near, max_shown) + "?";
  return {"cannot find '" + path + "' in the commit's tree", hint};
}

class Planner {
 public:
  Planner(git_repository* objects, const Limits& limits) : objects_(objects), limits_(limits) {
    git_odb* raw = nullptr;
    git::check(git_repository_odb(&raw, objects), "open the repository's objects");
    database_.reset(raw);
  }

  void add(const std::string& path, const git_tree_entry* entry) {
    if (path.size() > max_path) refuse(path, "its path is too long");
    const git_filemode_t mode = checked_mode(path, entry);
    const git_oid id = *git_tree_entry_id(entry);
    if (!plan_.try_emplace(path, PlannedEntry{mode, id}).second) return;  // requested paths overlap
    const std::size_t size = count(path, id, mode);
    if (mode == GIT_FILEMODE_LINK) check_link(path, id, size);
    if (mode == GIT_FILEMODE_TREE) add_directory(path, id);
  }

  /// `path` is "" for the root.
  void add_directory(const std::string& path, const git_oid& id) { open_.push_back({path, id}); }

  /// Lists all directories by a list, not by recursion: a hostile tree may be deep.
  void descend() {
    while (!open_.empty()) {
      const auto [path, id] = open_.back();
      open_.pop_back();
      list(path, id);
    }
  }

  void check_case(const std::vector<std::string>& paths) const;

  CheckoutPlan take() { return std::move(plan_); }

 private:
  struct Directory {
    std::string path;
    git_oid id;
  };

  void list(const std::string& path, const git_oid& id) {
    const auto tree = git::make<git::Tree>("read the tree of '" + path + "'", git_tree_lookup, objects_, &id);
    const std::string prefix = path.empty() ? "" : path + "/";
    std::set<std::string> names;
    for (std::size_t i = 0; i < git_tree_entrycount(tree.get()); ++i) {
      const git_tree_entry* entry = git_tree_entry_byindex(tree.get(), i);
      const std::string name = git_tree_entry_name(entry);
      if (const auto why = why_bad_name(name)) refuse(prefix + name, *why);
      if (!names.insert(name).second) refuse(prefix + name, "the tree holds this name twice");
      add(prefix + name, entry);
    }
  }

  static git_filemode_t checked_mode(const std::string& path, const git_tree_entry* entry) {
    constexpr unsigned group_writable = 0100664;  // written by the first versions of git
    switch (const auto mode = static_cast<unsigned>(git_tree_entry_filemode_raw(entry))) {
      case GIT_FILEMODE_TREE:
      case GIT_FILEMODE_BLOB:
      case GIT_FILEMODE_BLOB_EXECUTABLE:
      case GIT_FILEMODE_LINK:
        return static_cast<git_filemode_t>(mode);
      case group_writable:
        return GIT_FILEMODE_BLOB;
      case GIT_FILEMODE_COMMIT:
        refuse(path, "it is a submodule, and those are not fetched");
      default:
        refuse(path, "it is neither a file nor a directory nor a link");
    }
  }

  /// Reads the size without unpacking the object, so that a zip bomb is refused.
  std::size_t count(const std::string& path, const git_oid& id, git_filemode_t mode) {
    std::size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    git::check(git_odb_read_header(&size, &type, database_.get(), &id), "read '" + path + "'");
    bytes_ += mode == GIT_FILEMODE_TREE ? 0 : size;
    if (bytes_ > limits_.bytes || size > limits_.bytes) {
      throw Error("cannot check out '" + path + "': all files are more than " +
                      std::to_string(limits_.bytes) + " bytes",
                  "give narrower --path options, or raise --max-bytes");
    }
    if (++entries_ > limits_.files) {
      throw Error("cannot check out '" + path + "': there are more than " + std::to_string(limits_.files) +
                      " files and directories",
                  "give narrower --path options, or raise --max-files");
    }
    path_bytes_ += path.size();
    if (path_bytes_ > always_allowed_path_bytes && path_bytes_ / path_bytes_per_file > limits_.files) {
      throw Error("cannot check out " + in_quotes(path, max_shown) + ": all paths together are longer than " +
                      std::to_string(limits_.files) + " times " + std::to_string(path_bytes_per_file) +
                      " bytes",
                  "give narrower --path options, or raise --max-files");
    }
    return size;
  }

  void check_link(const std::string& path, const git_oid& id, std::size_t size) {
    if (size > max_link) refuse(path, "it is a symbolic link, and its target is longer than a path can be");
    const auto blob = git::make<git::Blob>("read '" + path + "'", git_blob_lookup, objects_, &id);
    const std::string_view target(static_cast<const char*>(git_blob_rawcontent(blob.get())),
                                  static_cast<std::size_t>(git_blob_rawsize(blob.get())));
    if (const auto why = why_bad_link(path, target)) refuse(path, "it is a symbolic link, and " + *why);
  }

  git_repository* objects_;
  const Limits& limits_;
  git::Database database_;
  std::uint64_t bytes_ = 0;
  std::uint64_t entries_ = 0;
  std::uint64_t path_bytes_ = 0;
  std::vector<Directory> open_;
  CheckoutPlan plan_;
};

/// Finds paths that differ in case alone. On a file system that ignores case, a link could take a directory's
/// place, and files would be written elsewhere.
class CaseCheck {
 public:
  void add(const std::string& path, bool link) {
    const auto [place, is_new] = seen_.try_emplace(fold_case(path), Seen{path, link});
    if (is_new || place->second.path == path) return;
    if (link || place->second.link) {
      refuse(path, "it differs from '" + place->second.path +
                       "' in case alone, and one of them is a symbolic link");
    }
    if (pairs_++ == 0) first_ = {place->second.path, path};
  }

  void warn() const {
    if (pairs_ == 0) return;
    log::warning("paths differ in case alone: a file system that ignores case cannot hold both",
                 {{"one", first_.first}, {"other", first_.second}, {"pairs", pairs_}});
  }

 private:
  struct Seen {
    std::string path;
    bool link;
  };
  std::map<std::string, Seen> seen_;
  std::size_t pairs_ = 0;
  std::pair<std::string, std::string> first_;
};

void Planner::check_case(const std::vector<std::string>& paths) const {
  CaseCheck check;
  for (const std::string& path : paths) {
    for (std::size_t at = 0; (at = path.find('/', at)) != std::string::npos; ++at)
      check.add(path.substr(0, at), false);
  }
  for (const auto& [path, entry] : plan_) check.add(path, entry.mode == GIT_FILEMODE_LINK);
  check.warn();
}

}  // namespace

git::Tree root_tree(git_repository* objects, const git_oid& commit_id) {
  const auto commit = git::make<git::Commit>("read the commit", git_commit_lookup, objects, &commit_id);
  return git::make<git::Tree>("read the commit's tree", git_commit_tree, commit.get());
}

git::TreeEntry find_entry(const git_tree* root, const std::string& path) {
  auto entry = git::find<git::TreeEntry>("read '" + path + "' in the commit's tree", git_tree_entry_bypath,
                                         root, path.c_str());
  if (!entry) throw Error(no_such_path(root, path));
  return entry;
}

CheckoutPlan plan_checkout(git_repository* objects, const git_oid& commit,
                           const std::vector<std::string>& paths, const Limits& limits) {
  const git::Tree root = root_tree(objects, commit);
  Planner planner(objects, limits);
  for (const std::string& path : paths) {
    if (path == ".") {
      planner.add_directory("", *git_tree_id(root.get()));
    } else {
      planner.add(path, find_entry(root.get(), path).get());
    }
  }
  planner.descend();
  planner.check_case(paths);
  return planner.take();
}

}  // namespace kms::builder
