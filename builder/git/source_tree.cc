#include "builder/git/source_tree.h"

#include <algorithm>
#include <set>

namespace kms::builder {
namespace {

template <class Handle, class Function>
Handle find(git_repository* repository, const git_oid& id, Function lookup) {
  return git::find<Handle>("read object " + git::hex(id), lookup, repository, &id);
}

void add(std::vector<git_oid>& ids, const git_oid& id) {
  const auto same = [&](const git_oid& other) { return git_oid_equal(&id, &other) != 0; };
  if (std::none_of(ids.begin(), ids.end(), same)) ids.push_back(id);
}

struct Before {
  bool operator()(const git_oid& a, const git_oid& b) const { return git_oid_cmp(&a, &b) < 0; }
};

class PathWalk {
 public:
  explicit PathWalk(git_repository* repository) : repository_(repository) {
    git_odb* raw = nullptr;
    git::check(git_repository_odb(&raw, repository), "open the repository's objects");
    database_.reset(raw);
  }

  /// Goes down from the root tree to `path`.
  void follow(git_oid id, std::string_view path) {
    git_object_t type = GIT_OBJECT_TREE;
    if (path == ".") path = {};
    while (!path.empty()) {
      const auto tree = find<git::Tree>(repository_, id, git_tree_lookup);
      if (!tree) {
        const auto further = static_cast<std::size_t>(std::count(path.begin(), path.end(), '/'));
        missing_.levels_below = std::max(missing_.levels_below, further);
        return add(missing_.directories, id);
      }
      const std::size_t slash = path.find('/');
      const git_tree_entry* entry =
          git_tree_entry_byname(tree.get(), std::string(path.substr(0, slash)).c_str());
      path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
      if (entry == nullptr) return;
      type = git_tree_entry_type(entry);
      if (type != GIT_OBJECT_TREE && (type != GIT_OBJECT_BLOB || !path.empty())) return;
      id = *git_tree_entry_id(entry);
    }
    if (!(type == GIT_OBJECT_TREE ? holds_all_of(id) : holds(id))) add(missing_.targets, id);
  }

  Missing take() { return std::move(missing_); }

 private:
  [[nodiscard]] bool holds(const git_oid& id) const { return git_odb_exists(database_.get(), &id) == 1; }

  /// True if everything below a tree exists. It reads each tree once and does not recurse: hostile trees
  /// hold themselves over and over, or a million levels.
  [[nodiscard]] bool holds_all_of(const git_oid& root) const {
    std::set<git_oid, Before> seen{root};
    std::vector<git_oid> open{root};
    while (!open.empty()) {
      const auto tree = find<git::Tree>(repository_, open.back(), git_tree_lookup);
      open.pop_back();
      if (!tree) return false;
      for (std::size_t i = 0; i < git_tree_entrycount(tree.get()); ++i) {
        const git_tree_entry* entry = git_tree_entry_byindex(tree.get(), i);
        const git_oid id = *git_tree_entry_id(entry);
        const git_object_t type = git_tree_entry_type(entry);
        if (type == GIT_OBJECT_BLOB && !holds(id)) return false;
        if (type == GIT_OBJECT_TREE && seen.insert(id).second) open.push_back(id);
      }
    }
    return true;
  }

  git_repository* repository_;
  git::Database database_;
  Missing missing_;
};

}  // namespace

SourceTree::SourceTree(git_repository* objects, const git_oid& commit) : objects_(objects) {
  const auto found = git::make<git::Commit>("read the commit", git_commit_lookup, objects, &commit);
  root_ = git::make<git::Tree>("read the commit's tree", git_commit_tree, found.get());
}

git::TreeEntry SourceTree::entry(const std::string& path) const {
  const std::size_t slash = path.rfind('/');
  const git_tree* tree = slash == std::string::npos ? root_.get() : directory(path.substr(0, slash));
  const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  const git_tree_entry* found = tree == nullptr ? nullptr : git_tree_entry_byname(tree, name.c_str());
  git_tree_entry* copy = nullptr;
  if (found == nullptr || git_tree_entry_dup(&copy, found) < 0) return nullptr;
  return git::TreeEntry(copy);
}

const git_tree* SourceTree::directory(const std::string& path) const {
  if (latest_path_ == path) return latest_.get();
  latest_.reset();
  latest_path_ = path;
  git_tree_entry* raw = nullptr;
  if (git_tree_entry_bypath(&raw, root_.get(), path.c_str()) < 0) return nullptr;
  const git::TreeEntry found(raw);
  git_tree* tree = nullptr;
  if (git_tree_entry_type(raw) != GIT_OBJECT_TREE ||
      git_tree_lookup(&tree, objects_, git_tree_entry_id(raw)) < 0)
    return nullptr;
  latest_.reset(tree);
  return tree;
}

std::optional<std::string> SourceTree::content_of(const git::TreeEntry& entry) const {
  git_blob* raw = nullptr;
  if (git_blob_lookup(&raw, objects_, git_tree_entry_id(entry.get())) < 0) return std::nullopt;
  const git::Blob blob(raw);
  return std::string(static_cast<const char*>(git_blob_rawcontent(raw)),
                     static_cast<std::size_t>(git_blob_rawsize(raw)));
}

std::optional<std::string> SourceTree::read(const std::string& path) const {
  const git::TreeEntry found = entry(path);
  if (!found || git_tree_entry_type(found.get()) != GIT_OBJECT_BLOB ||
      git_tree_entry_filemode(found.get()) == GIT_FILEMODE_LINK)
    return std::nullopt;
  return content_of(found);
}

std::optional<std::string> SourceTree::link_target(const std::string& path) const {
  const git::TreeEntry found = entry(path);
  if (!found || git_tree_entry_filemode(found.get()) != GIT_FILEMODE_LINK) return std::nullopt;
  return content_of(found);
}

bool SourceTree::has(const std::string& path) const { return path == "." || entry(path) != nullptr; }

bool SourceTree::is_file(const std::string& path) const {
  const git::TreeEntry found = entry(path);
  return found && git_tree_entry_type(found.get()) == GIT_OBJECT_BLOB;
}

Missing missing_objects(git_repository* repository, const git_oid& commit_id,
                        const std::vector<std::string>& paths) {
  const auto commit = find<git::Commit>(repository, commit_id, git_commit_lookup);
  if (!commit) return {true, {}, 0, {}};
  PathWalk walk(repository);
  for (const std::string& path : paths) walk.follow(*git_commit_tree_id(commit.get()), path);
  return walk.take();
}

}  // namespace kms::builder
