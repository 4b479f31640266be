#include "builder/git/path_walk.h"

#include <algorithm>
#include <set>

namespace kms::builder {
namespace {

template <class Handle, class Function>
Handle find(git_repository* repository, const git_oid& id, Function lookup) {
  typename Handle::pointer raw = nullptr;
  const int code = lookup(&raw, repository, &id);
  if (code == GIT_ENOTFOUND) return nullptr;
  git::check(code, "read object " + git::hex(id));
  return Handle(raw);
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

  /// Whether everything below a tree is there. Each tree is looked at once, and none is nested on the stack:
  /// hostile ones hold themselves over and over, or a million levels.
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

Missing missing_objects(git_repository* repository, const git_oid& commit_id,
                        const std::vector<std::string>& paths) {
  const auto commit = find<git::Commit>(repository, commit_id, git_commit_lookup);
  if (!commit) return {true, {}, 0, {}};
  PathWalk walk(repository);
  for (const std::string& path : paths) walk.follow(*git_commit_tree_id(commit.get()), path);
  return walk.take();
}

}  // namespace kms::builder
