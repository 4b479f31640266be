#include "builder/commands/profile.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "common/error.h"
#include "tests/support/temp_directory.h"

using namespace kms::builder;
using kms::test::TempDirectory;

namespace {

const Profile& openshift() { return profiles().at(1); }

/// No file may become longer, as on a full disk.
class ShortFiles {
 public:
  explicit ShortFiles(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit shorter{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &shorter);
  }
  ShortFiles(const ShortFiles&) = delete;
  ShortFiles& operator=(const ShortFiles&) = delete;
  ~ShortFiles() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("a plugin's configuration is made once, for its owner alone, and never overwritten") {
  const TempDirectory directory;
  const auto file = directory.path() / openshift().companion;
  write_companion(openshift(), directory.path());
  struct stat status {};
  REQUIRE(stat(file.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  std::ofstream(file) << "mine";
  write_companion(openshift(), directory.path());
  CHECK(std::filesystem::file_size(file) == 4);
}

TEST_CASE("a configuration that does not fit leaves nothing, so that the next build makes it whole") {
  const TempDirectory directory;
  for (const rlim_t bytes : {rlim_t{0}, rlim_t{5}}) {
    const ShortFiles full(bytes);
    CHECK_THROWS_AS(write_companion(openshift(), directory.path()), kms::Error);
    CHECK(std::filesystem::is_empty(directory.path()));
  }
  write_companion(openshift(), directory.path());
  CHECK(std::filesystem::file_size(directory.path() / openshift().companion) > 50);
}
