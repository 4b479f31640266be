// Profiles give the builder's options their defaults, one profile for each plugin that the builder knows.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/compile/recipe.h"

namespace kms::builder {

struct Profile {
  std::string name;
  std::string repository{};  ///< "": the repository around the program, or the packaged one
  std::vector<std::string> paths;
  std::string target;
  BuildSystem system = BuildSystem::automatic;
  std::vector<std::string> environment{};
  std::string smoke_test = "--version";
  bool download_modules = false;
  std::string companion{};  ///< name of a configuration file beside the binary; "": none
};

/// `embedded`: this project's mock-kms-provider. `openshift`: the plugin of Kubernetes' own tests, which
/// keeps its keys in SoftHSM.
[[nodiscard]] const std::vector<Profile>& profiles();

/// Writes the plugin's configuration file in `directory` unless there is one: it may hold a PIN. Throws
/// Error.
void write_companion(const Profile& profile, const std::filesystem::path& directory);

}  // namespace kms::builder
