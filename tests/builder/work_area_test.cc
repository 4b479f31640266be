#include "builder/work_area.h"

#include <doctest/doctest.h>
#include <signal.h>

#include "proto/program/error.h"
#include "tests/support/temp_folder.h"

namespace fs = std::filesystem;
using kms::builder::Interrupted;
using kms::builder::Interruption;
using kms::builder::WorkArea;
using kms::test::TempFolder;

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

TEST_CASE("who waits for the lock stops waiting when asked to end") {
  const TempFolder folder;
  const Interruption interruption;
  const WorkArea first(folder.path(), interruption);
  ::kill(::getpid(), SIGTERM);
  CHECK_THROWS_AS(WorkArea(folder.path(), interruption), Interrupted);
  CHECK(interruption.take_name() == "SIGTERM");
}
