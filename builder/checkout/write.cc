#include "builder/checkout/write.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "builder/checkout/plan.h"
#include "builder/publish/new_file.h"
#include "common/io/fd.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

bool is_or_is_below(const std::string& path, const std::string& directory) {
  return directory == "." || path == directory || path.starts_with(directory + "/");
}

/// Adds the link if its target is neither among the paths nor above one of them.
void note_link(const std::string& path, std::string_view target, const std::vector<std::string>& paths,
               CheckoutResult& result) {
  const std::string end = (fs::path(path).parent_path() / target).lexically_normal().string();
  const bool fetched = std::any_of(paths.begin(), paths.end(), [&](const std::string& wanted) {
    return is_or_is_below(end, wanted) || is_or_is_below(wanted, end);
  });
  if (!fetched) result.unfetched_links.push_back(path + " is a link to " + end);
}

class Writer {
 public:
  /// `option` names the directory.
  Writer(git_repository* objects, const std::filesystem::path& directory, std::string option)
      : objects_(objects), option_(std::move(option)) {
    root_.reset(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root_) throw_errno("open " + directory.string());
  }

  void write(const std::string& path, const PlannedEntry& entry, const std::vector<std::string>& paths,
             CheckoutResult& result) {
    if (entry.mode == GIT_FILEMODE_TREE) {
      make_directory(path);
      return;
    }
    const auto blob = git::make<git::Blob>("read '" + path + "'", git_blob_lookup, objects_, &entry.id);
    const std::string_view content(static_cast<const char*>(git_blob_rawcontent(blob.get())),
                                   static_cast<std::size_t>(git_blob_rawsize(blob.get())));
    if (entry.mode == GIT_FILEMODE_LINK) {
      if (::symlinkat(std::string(content).c_str(), root_.get(), path.c_str()) < 0) fail(path);
      note_link(path, content, paths, result);
    } else {
      write_file(path, content, entry.mode == GIT_FILEMODE_BLOB_EXECUTABLE ? 0755 : 0644);
    }
    ++result.files;
    result.bytes += content.size();
  }

  void make_parents(const std::string& path) {
    for (std::size_t at = 0; (at = path.find('/', at)) != std::string::npos; ++at)
      make_directory(path.substr(0, at));
  }

 private:
  void make_directory(const std::string& path) const {
    if (::mkdirat(root_.get(), path.c_str(), 0755) < 0 && errno != EEXIST) fail(path);
  }

  void write_file(const std::string& path, std::string_view content, mode_t mode) const {
    const UniqueFd file(
        ::openat(root_.get(), path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!file || !write_all(file.get(), content)) fail(path);
  }

  [[noreturn]] void fail(const std::string& path) const {
    throw_errno("write '" + path + "'", write_hint(errno, option_));
  }

  git_repository* objects_;
  std::string option_;
  UniqueFd root_;
};

}  // namespace

std::vector<CheckedOutPath> find_paths(git_repository* objects, const git_oid& commit,
                                       const std::vector<std::string>& paths) {
  const git::Tree root = root_tree(objects, commit);
  std::vector<CheckedOutPath> found;
  for (const std::string& path : paths) {
    const git_oid id =
        path == "." ? *git_tree_id(root.get()) : *git_tree_entry_id(find_entry(root.get(), path).get());
    found.push_back({path, git::hex(id)});
  }
  return found;
}

CheckoutResult check_out(git_repository* objects, const git_oid& commit,
                         const std::vector<std::string>& paths, const std::filesystem::path& directory,
                         const Limits& limits, const std::string& option) {
  const CheckoutPlan plan = plan_checkout(objects, commit, paths, limits);
  CheckoutResult result;
  result.paths = find_paths(objects, commit, paths);
  Writer writer(objects, directory, option);
  for (const std::string& path : paths) writer.make_parents(path);
  const auto write = [&](bool links) {
    for (const auto& [path, entry] : plan) {
      if ((entry.mode == GIT_FILEMODE_LINK) == links) writer.write(path, entry, paths, result);
    }
  };
  write(false);
  write(true);  // last, so that no file is written through a link
  if (!result.unfetched_links.empty())
    log::warning(result.unfetched_links.front() + ", which was not fetched; give it by --path too",
                 {{"links", result.unfetched_links.size()}});
  log::info("checked out", {{"files", result.files}, {"bytes", result.bytes}});
  return result;
}

void record_paths(const std::vector<CheckedOutPath>& paths, mock_kms::v1::BuildInfo& info) {
  info.clear_paths();
  for (const CheckedOutPath& path : paths) {
    auto* entry = info.add_paths();
    entry->set_path(path.path);
    entry->set_id(path.id);
  }
}

}  // namespace kms::builder
