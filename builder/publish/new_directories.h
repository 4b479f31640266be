// NewDirectories makes a directory for a result, and removes it again if no result came into it.
//
// Used on one thread. It removes only directories that it made itself and that are empty. Another program may
// remove or fill them at any time.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kms::builder {

class NewDirectories {
 public:
  NewDirectories() = default;

  /// Makes `directory` and the missing ones above it. Throws Error "cannot make ..." with `next_step`, and
  /// leaves none of them then.
  NewDirectories(const std::filesystem::path& directory, const std::string& next_step);
  NewDirectories(const NewDirectories&) = delete;
  NewDirectories& operator=(const NewDirectories&) = delete;
  ~NewDirectories() { remove_empty(); }

  /// Takes over the directories of `other`.
  void take(NewDirectories& other);

  /// Leaves the directories, though they are empty.
  void keep() { made_.clear(); }

 private:
  void remove_empty() noexcept;

  std::vector<std::filesystem::path> made_;  ///< the highest first
};

}  // namespace kms::builder
