// Profiles are the plugins that the builder knows: what is left out on the command line is taken from one.
//
// Pure but for write_companion(), which writes one file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/compile/recipe.h"

namespace kms::builder {

struct Profile {
  std::string name;
  std::string repository;  ///< "": the one around the program, or the packaged one
  std::vector<std::string> paths;
  std::string target;
  BuildSystem system = BuildSystem::automatic;
  std::vector<std::string> environment;
  std::string proof = "--version";
  bool download_modules = false;
  std::string companion;  ///< a file that the plugin reads, beside the binary; "": none
};

/// `embedded`: mock-kms-provider of this project. `openshift`: the plugin that Kubernetes' own tests use,
/// which keeps its keys in SoftHSM.
[[nodiscard]] const std::vector<Profile>& profiles();

/// Makes the plugin's configuration in `directory` where there is none yet: nobody's PIN is overwritten.
/// Throws Error.
void write_companion(const Profile& profile, const std::filesystem::path& directory);

}  // namespace kms::builder
