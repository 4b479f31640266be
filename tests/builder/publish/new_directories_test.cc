#include "builder/publish/new_directories.h"

#include <doctest/doctest.h>

#include "common/error.h"
#include "tests/support/temp_directory.h"

namespace {

namespace fs = std::filesystem;
using kms::builder::NewDirectories;
using kms::test::TempDirectory;

}  // namespace

TEST_CASE("new directories that stay empty are removed, and only those") {
  const TempDirectory directory;
  fs::create_directory(directory.path() / "old");
  {
    const NewDirectories made(directory.path() / "old" / "a" / "b", "check it");
    CHECK(fs::is_directory(directory.path() / "old" / "a" / "b"));
  }
  CHECK(fs::is_empty(directory.path() / "old"));
  { const NewDirectories made(directory.path() / "old", "check it"); }
  CHECK(fs::exists(directory.path() / "old"));
}

TEST_CASE("a new directory with a file in it stays, and so do those above it") {
  const TempDirectory directory;
  {
    const NewDirectories made(directory.path() / "a" / "b" / "c", "check it");
    (void)directory.write("a/b/file", "content");
  }
  CHECK(fs::exists(directory.path() / "a" / "b" / "file"));
  CHECK_FALSE(fs::exists(directory.path() / "a" / "b" / "c"));
}

TEST_CASE("a directory that cannot be made leaves none of those above it") {
  const TempDirectory directory;
  const std::string long_name(300, 'x');
  CHECK_THROWS_WITH_AS(NewDirectories(directory.path() / "a" / long_name, "check it"),
                       doctest::Contains("cannot make "), kms::Error);
  CHECK_FALSE(fs::exists(directory.path() / "a"));
}

TEST_CASE("directories that are kept or taken over stay") {
  const TempDirectory directory;
  {
    NewDirectories all;
    {
      NewDirectories first(directory.path() / "a", "check it");
      all.take(first);
      NewDirectories second(directory.path() / "b", "check it");
      second.keep();
    }
    CHECK(fs::exists(directory.path() / "a"));
  }
  CHECK_FALSE(fs::exists(directory.path() / "a"));
  CHECK(fs::exists(directory.path() / "b"));
}
