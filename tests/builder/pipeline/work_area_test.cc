#include "builder/pipeline/work_area.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp_directory.h"

namespace fs = std::filesystem;
using kms::builder::Interrupted;
using kms::builder::Interruption;
using kms::builder::WorkArea;
using kms::test::TempDirectory;

namespace {

/// Makes another user the owner of all below.
int give_all(const fs::path& directory) {
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (::lchown(entry.path().c_str(), 12345, 12345) < 0) return -1;
  }
  return 0;
}

}  // namespace

TEST_CASE("left-overs go, files of others in the directory stay, and at the end only the lock file is left") {
  const TempDirectory directory;
  directory.write("mock-kms-build/src/left-over", "");
  directory.write("mine", "");
  const Interruption interruption;
  {
    const WorkArea area(directory.path(), interruption);
    CHECK(fs::is_empty(area.source()));
    CHECK(fs::is_empty(area.build()));
    directory.write("mock-kms-build/build/object", "");
  }
  CHECK_FALSE(fs::exists(directory.path() / "mock-kms-build"));
  CHECK(fs::exists(directory.path() / "mine"));
  CHECK(fs::exists(directory.path() / "mock-kms-build.lock"));
}

TEST_CASE("a link in the place of the work directory is removed, not followed") {
  const TempDirectory directory;
  directory.write("precious/file", "");
  fs::create_symlink(directory.path() / "precious", directory.path() / "mock-kms-build");
  const Interruption interruption;
  { const WorkArea area(directory.path(), interruption); }
  CHECK(fs::exists(directory.path() / "precious" / "file"));
}

TEST_CASE("directories that were closed to their owner are removed") {
  const TempDirectory directory;
  for (const char* name : {"shut", "read-only"}) {
    directory.write(std::string("mock-kms-build/build/") + name + "/below/file", "");
    for (const char* below : {"/below", ""})
      fs::permissions(directory.path() / "mock-kms-build/build" / (name + std::string(below)),
                      std::string_view(name) == "shut" ? fs::perms::none : fs::perms::owner_read);
  }
  // Root needs no rights: a process without its capability to do without does.
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::chown(directory.path().c_str(), 12345, 12345) < 0 ||
                             give_all(directory.path()) < 0 || ::setresuid(12345, 12345, 12345) < 0))
      ::_exit(3);
    const Interruption interruption;
    try {
      const WorkArea area(directory.path(), interruption);
      ::_exit(fs::is_empty(area.build()) ? 0 : 2);
    } catch (const std::exception&) {
      ::_exit(1);
    }
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a builder that waits for the lock stops waiting when asked to end") {
  const TempDirectory directory;
  const Interruption interruption;
  const WorkArea first(directory.path(), interruption);
  ::kill(::getpid(), SIGTERM);
  CHECK_THROWS_AS(WorkArea(directory.path(), interruption), Interrupted);
  CHECK(interruption.take_name() == "SIGTERM");
}
