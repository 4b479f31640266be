#include "builder/publish/output.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <future>
#include <memory>
#include <set>
#include <thread>

#include "common/error.h"
#include "tests/support/temp_directory.h"

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using kms::builder::Interruption;
using kms::builder::Output;
using kms::test::TempDirectory;
using mock_kms::v1::BuildInfo;

kms::UniqueFd opened(const fs::path& file) {
  return kms::UniqueFd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
}

BuildInfo published(const TempDirectory& directory, const std::string& content, const std::string& commit) {
  const Interruption interruption;
  const fs::path built = directory.write("built", content);
  BuildInfo info;
  info.set_commit(commit);
  Output output(directory.path() / "out" / "plugin", interruption);
  output.stage(opened(built).get(), info);
  output.publish(info);
  return info;
}

std::set<std::string> files_in(const fs::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.insert(entry.path().filename().string());
  return names;
}

}  // namespace

TEST_CASE("a binary is published executable, with a record that has its digest and size") {
  const Interruption interruption;
  const TempDirectory directory;
  const BuildInfo info = published(directory, "abc", "1");
  // FIPS 180-2, appendix B.1
  CHECK(info.binary().sha256() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(info.binary().size() == 3);
  const fs::path binary = directory.path() / "out" / "plugin";
  struct stat status {};
  REQUIRE(::stat(binary.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0755);
  CHECK(Output(binary, interruption).current()->commit() == "1");
  CHECK(files_in(directory.path() / "out") == std::set<std::string>{"plugin", "build-info.json"});
}

TEST_CASE("between the two renames the new record still describes the old binary") {
  const Interruption interruption;
  const TempDirectory directory;
  published(directory, "old", "1");
  const fs::path binary = directory.path() / "out" / "plugin";
  fs::copy_file(binary, directory.path() / "kept");
  published(directory, "new", "2");
  CHECK(Output(binary, interruption).current()->commit() == "2");
  fs::rename(directory.path() / "kept", binary);  // as if the second rename had never been
  CHECK(Output(binary, interruption).current()->commit() == "1");
  published(directory, "newer", "3");
  const auto file = kms::read_build_info(directory.path() / "out" / "build-info.json");
  CHECK(file->previous().commit() == "1");
  CHECK_FALSE(file->previous().has_previous());
}

TEST_CASE("a binary that is not the one recorded has no record") {
  const Interruption interruption;
  const TempDirectory directory;
  published(directory, "abc", "1");
  directory.write("out/plugin", "abd");
  CHECK_FALSE(Output(directory.path() / "out" / "plugin", interruption).current());
  directory.write("out/build-info.json", "{ damaged");
  CHECK_FALSE(Output(directory.path() / "out" / "plugin", interruption).current());
}

TEST_CASE("left-overs of a killed builder go when the next one begins, staged files when this one ends") {
  const Interruption interruption;
  const TempDirectory directory;
  directory.write("out/.plugin.builder-new", "half");
  directory.write("out/.build-info.json.builder-new", "half");
  directory.write("out/.plugin.other", "not ours");
  {
    Output output(directory.path() / "out" / "plugin", interruption);
    CHECK(files_in(directory.path() / "out") == std::set<std::string>{".plugin.other"});
    BuildInfo info;
    output.stage(opened(directory.write("built", "abc")).get(), info);
  }
  CHECK(files_in(directory.path() / "out") == std::set<std::string>{".plugin.other"});
}

TEST_CASE("an output that cannot be is refused with its cause") {
  const Interruption interruption;
  const TempDirectory directory;
  directory.write("file", "");
  CHECK_THROWS_AS(Output(directory.path() / "file" / "plugin", interruption), kms::Error);
  CHECK_THROWS_AS(Output("/proc/plugin", interruption), kms::Error);  // nobody writes there, root neither
  fs::create_directories(directory.path() / "out" / "plugin");
  CHECK_THROWS_AS(Output(directory.path() / "out" / "plugin", interruption), kms::Error);
}

TEST_CASE("an output without a binary leaves no directory that it made") {
  const Interruption interruption;
  const TempDirectory directory;
  {
    const Output output(directory.path() / "a" / "b" / "plugin", interruption);
    CHECK(fs::is_directory(directory.path() / "a" / "b"));
  }
  CHECK(fs::is_empty(directory.path()));
}

TEST_CASE("a directory that its maker removes while another builder waits for it is made again") {
  const Interruption interruption;
  const TempDirectory directory;
  const fs::path binary = directory.path() / "a" / "plugin";
  auto first = std::make_unique<Output>(binary, interruption);
  auto second = std::async(std::launch::async, [&] {
    const Output output(binary, interruption);
    return fs::is_directory(directory.path() / "a");
  });
  const auto is_opened_twice = [place = fs::canonical(directory.path() / "a")] {
    int count = 0;
    for (const auto& fd : fs::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      count += fs::read_symlink(fd, gone) == place ? 1 : 0;
    }
    return count > 1;
  };
  while (!is_opened_twice() && second.wait_for(0s) != std::future_status::ready) std::this_thread::yield();
  first.reset();
  CHECK(second.get());
  CHECK(fs::is_empty(directory.path()));
}
