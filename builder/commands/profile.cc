#include "builder/commands/profile.h"

#include <cstdio>
#include <string_view>

#include "builder/publish/new_file.h"
#include "common/error.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

/// The plugin passes it to crypto11 (--config-file-path; kubernetes/kubernetes
/// staging/src/k8s.io/kms/internal/plugins/_mock/kms.yaml). Debian and Fedora link the library there.
constexpr std::string_view softhsm_configuration = R"({
  "path": "/usr/lib/softhsm/libsofthsm2.so",
  "tokenLabel": "kms-test",
  "pin": "1234"
}
)";

}  // namespace

const std::vector<Profile>& profiles() {
  static const std::vector<Profile> all{
      {.name = "embedded", .paths = {"provider", "common", "proto"}, .target = "mock-kms-provider"},
      {.name = "openshift",
       .repository = "https://github.com/openshift/kubernetes.git",
       .paths = {"staging/src/k8s.io/kms/internal/plugins/_mock"},
       .target = "mock-kms-plugin",
       .system = BuildSystem::go,
       .environment = {"CGO_ENABLED=1"},  // SoftHSM is a C library
       .smoke_test = "--help",            // it has no --version
       .download_modules = true,
       .companion = "softhsm-config.json"}};
  return all;
}

void write_companion(const Profile& profile, const std::filesystem::path& directory) {
  if (profile.companion.empty()) return;
  const std::filesystem::path file = directory / profile.companion;
  if (std::filesystem::exists(std::filesystem::symlink_status(file))) return;
  const std::filesystem::path staged = directory / ("." + profile.companion + ".builder-new");
  std::filesystem::remove(staged);
  write_new_file(staged, softhsm_configuration, 0600, "--output");
  if (::rename(staged.c_str(), file.c_str()) < 0) {
    const int error = errno;
    std::filesystem::remove(staged);
    errno = error;
    throw_errno("write " + file.string(), "check --output");
  }
  log::info("wrote the plugin's configuration", {{"file", file.string()}});
}

}  // namespace kms::builder
