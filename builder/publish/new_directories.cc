#include "builder/publish/new_directories.h"

#include <unistd.h>

#include <system_error>

#include "common/error.h"

namespace kms::builder {
namespace {

namespace fs = std::filesystem;

/// `directory` and those above it, the highest first.
std::vector<fs::path> with_parents(const fs::path& directory) {
  std::vector<fs::path> all;
  for (fs::path path = directory; !path.empty() && path != path.root_path(); path = path.parent_path())
    all.insert(all.begin(), path);
  return all;
}

}  // namespace

NewDirectories::NewDirectories(const fs::path& directory, const std::string& next_step) {
  constexpr int max_tries = 10;  // another builder may remove its own empty directory meanwhile
  std::error_code error;
  for (int i = 0; i < max_tries; ++i) {
    for (const fs::path& path : with_parents(directory)) {
      if (fs::is_directory(path, error)) continue;
      if (error && error != std::errc::no_such_file_or_directory) break;  // such as a link to itself
      if (fs::create_directory(path, error)) made_.push_back(path);
      if (error) break;
    }
    if (error != std::errc::no_such_file_or_directory) break;
  }
  if (!error) return;
  remove_empty();
  throw Error("cannot make " + directory.string() + ": " + error.message(), next_step);
}

void NewDirectories::take(NewDirectories& other) {
  made_.insert(made_.end(), other.made_.begin(), other.made_.end());
  other.keep();
}

void NewDirectories::remove_empty() noexcept {
  for (auto path = made_.rbegin(); path != made_.rend(); ++path) ::rmdir(path->c_str());
}

}  // namespace kms::builder
