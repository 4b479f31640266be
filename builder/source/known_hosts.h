// KnownHosts makes libgit2 read the host keys of a chosen file.
//
// libgit2 reads known_hosts in $HOME/.ssh only, whenever it connects: as long as this lives, that is a
// directory which holds the chosen file. Made and destroyed while no other thread reads the environment.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace kms::builder {

class KnownHosts {
 public:
  /// Copies `file` below `scratch`. Throws Error.
  KnownHosts(const std::filesystem::path& file, const std::filesystem::path& scratch);
  KnownHosts(const KnownHosts&) = delete;
  KnownHosts& operator=(const KnownHosts&) = delete;
  ~KnownHosts();

 private:
  std::optional<std::string> home_before_;
};

}  // namespace kms::builder
