#include "common/io/fd.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "common/error.h"
#include "tests/support/temp_directory.h"

namespace {

std::string content_of(const std::filesystem::path& file) {
  std::ostringstream content;
  content << std::ifstream(file).rdbuf();
  return content.str();
}

std::size_t entries(const std::filesystem::path& directory) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

}  // namespace

TEST_CASE("a file is written whole, also behind a link") {
  const kms::test::TempDirectory directory;
  kms::write_file(directory.path() / "file", "one");
  std::filesystem::create_symlink("file", directory.path() / "link");
  kms::write_file(directory.path() / "link", "two");
  CHECK(content_of(directory.path() / "file") == "two");
  CHECK(std::filesystem::is_symlink(directory.path() / "link"));
  CHECK(entries(directory.path()) == 2);
}

TEST_CASE("a file that cannot be written whole stays as it was") {
  const kms::test::TempDirectory directory;
  const auto file = directory.path() / "file";
  kms::write_file(file, "before");
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{1024, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &small);
  CHECK_THROWS_WITH_AS(kms::write_file(file, std::string(5000, 'x')), doctest::Contains("File too large"),
                       kms::Error);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(content_of(file) == "before");
  CHECK(entries(directory.path()) == 1);
}

TEST_CASE("a device stays a device, and a failure names the file and the next step") {
  CHECK_THROWS_WITH_AS(kms::write_file("/dev/full", "text"),
                       doctest::Contains("/dev/full: No space left on device"), kms::Error);
  CHECK(std::filesystem::is_character_file("/dev/full"));
  CHECK_THROWS_WITH_AS(
      kms::write_file("/nonexistent/report.xml", ""),
      doctest::Contains("cannot write /nonexistent/report.xml: No such file or directory; name a file"),
      kms::Error);
  CHECK_THROWS_AS(kms::write_file(std::filesystem::temp_directory_path(), ""), kms::Error);
}
