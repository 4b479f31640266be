#include "builder/work_area.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/error.h"
#include "tests/support/temp_folder.h"

namespace fs = std::filesystem;
using kms::builder::Interrupted;
using kms::builder::Interruption;
using kms::builder::WorkArea;
using kms::test::TempFolder;

namespace {

/// Makes another user the owner of all below.
int give_all(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (::lchown(entry.path().c_str(), 12345, 12345) < 0) return -1;
  }
  return 0;
}

}  // namespace

TEST_CASE("left-overs go, files of others in the folder stay, and at the end only the lock file is left") {
  const TempFolder folder;
  folder.write("mock-kms-build/src/left-over", "");
  folder.write("mine", "");
  const Interruption interruption;
  {
    const WorkArea area(folder.path(), interruption);
    CHECK(fs::is_empty(area.source()));
    CHECK(fs::is_empty(area.build()));
    folder.write("mock-kms-build/build/object", "");
  }
  CHECK_FALSE(fs::exists(folder.path() / "mock-kms-build"));
  CHECK(fs::exists(folder.path() / "mine"));
  CHECK(fs::exists(folder.path() / "mock-kms-build.lock"));
}

TEST_CASE("a link in the place of the work folder is removed, not followed") {
  const TempFolder folder;
  folder.write("precious/file", "");
  fs::create_symlink(folder.path() / "precious", folder.path() / "mock-kms-build");
  const Interruption interruption;
  { const WorkArea area(folder.path(), interruption); }
  CHECK(fs::exists(folder.path() / "precious" / "file"));
}

TEST_CASE("folders that were closed to their owner are removed") {
  const TempFolder folder;
  for (const char* name : {"shut", "read-only"}) {
    folder.write(std::string("mock-kms-build/build/") + name + "/below/file", "");
    for (const char* below : {"/below", ""})
      fs::permissions(folder.path() / "mock-kms-build/build" / (name + std::string(below)),
                      std::string_view(name) == "shut" ? fs::perms::none : fs::perms::owner_read);
  }
  // Root needs no rights: a process without its capability to do without does.
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::chown(folder.path().c_str(), 12345, 12345) < 0 ||
                             give_all(folder.path()) < 0 || ::setresuid(12345, 12345, 12345) < 0))
      ::_exit(3);
    const Interruption interruption;
    try {
      const WorkArea area(folder.path(), interruption);
      ::_exit(fs::is_empty(area.build()) ? 0 : 2);
    } catch (const std::exception&) {
      ::_exit(1);
    }
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("who waits for the lock stops waiting when asked to end") {
  const TempFolder folder;
  const Interruption interruption;
  const WorkArea first(folder.path(), interruption);
  ::kill(::getpid(), SIGTERM);
  CHECK_THROWS_AS(WorkArea(folder.path(), interruption), Interrupted);
  CHECK(interruption.take_name() == "SIGTERM");
}
