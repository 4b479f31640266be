#include "builder/commands/profile.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string_view>

#include "common/error.h"
#include "common/io/fd.h"
#include "common/log/log.h"

namespace kms::builder {
namespace {

/// What the plugin gives to crypto11 (--config-file-path; kubernetes/kubernetes
/// staging/src/k8s.io/kms/internal/plugins/_mock/kms.yaml). The library is where Debian and Fedora link it.
constexpr std::string_view softhsm_configuration = R"({
  "path": "/usr/lib/softhsm/libsofthsm2.so",
  "tokenLabel": "kms-test",
  "pin": "1234"
}
)";

}  // namespace

const std::vector<Profile>& profiles() {
  static const std::vector<Profile> all{{"embedded",
                                         "",
                                         {"provider", "common", "proto"},
                                         "mock-kms-provider",
                                         BuildSystem::automatic,
                                         {},
                                         "--version",
                                         false,
                                         ""},
                                        {"openshift",
                                         "https://github.com/openshift/kubernetes.git",
                                         {"staging/src/k8s.io/kms/internal/plugins/_mock"},
                                         "mock-kms-plugin",
                                         BuildSystem::go,
                                         {"CGO_ENABLED=1"},  // SoftHSM is a C library
                                         "--help",           // it has no --version
                                         true,
                                         "softhsm-config.json"}};
  return all;
}

void write_companion(const Profile& profile, const std::filesystem::path& directory) {
  if (profile.companion.empty()) return;
  const std::filesystem::path file = directory / profile.companion;
  if (std::filesystem::exists(std::filesystem::symlink_status(file))) return;
  const std::filesystem::path staged = directory / ("." + profile.companion + ".builder-new");
  const UniqueFd fd(::open(staged.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throw_errno("write " + file.string(), "check --output");
  if (!write_all(fd.get(), softhsm_configuration) || ::rename(staged.c_str(), file.c_str()) < 0) {
    const int error = errno;
    ::unlink(staged.c_str());
    errno = error;
    throw_errno("write " + file.string(), "check --output");
  }
  log::info("made the plugin's configuration", {{"file", file.string()}});
}

}  // namespace kms::builder
