#include "builder/git/source_tree.h"

namespace kms::builder {

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

std::optional<std::string> SourceTree::read(const std::string& path) const {
  const git::TreeEntry found = entry(path);
  if (!found || git_tree_entry_type(found.get()) != GIT_OBJECT_BLOB ||
      git_tree_entry_filemode(found.get()) == GIT_FILEMODE_LINK)
    return std::nullopt;
  git_blob* raw = nullptr;
  if (git_blob_lookup(&raw, objects_, git_tree_entry_id(found.get())) < 0) return std::nullopt;
  const git::Blob blob(raw);
  return std::string(static_cast<const char*>(git_blob_rawcontent(raw)),
                     static_cast<std::size_t>(git_blob_rawsize(raw)));
}

bool SourceTree::has(const std::string& path) const { return path == "." || entry(path) != nullptr; }

bool SourceTree::is_file(const std::string& path) const {
  const git::TreeEntry found = entry(path);
  return found && git_tree_entry_type(found.get()) == GIT_OBJECT_BLOB;
}

}  // namespace kms::builder
