#include "supervisor/instance/binary.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "tests/support/temp_directory.h"

namespace kms::supervisor {
namespace {

/// How a status describes the plugin in `directory`.
mock_kms::v1::BinaryOnDisk described(const test::TempDirectory& directory) {
  asio::io_context loop;
  BinaryReader reader(loop);
  reader.finish();
  mock_kms::v1::BinaryOnDisk binary;
  reader.describe({{(directory.path() / "plugin").string(), ""}},
                  [&](const auto& found) { binary = found.front(); });
  return binary;
}

}  // namespace

TEST_CASE("a build-info.json that is too long is not read, and the status says so") {
  const test::TempDirectory directory;
  directory.write("plugin", "a program");
  const auto file = directory.write("build-info.json", "{}" + std::string((1 << 20) - 2, ' '));
  CHECK(described(directory).problem() == "");
  directory.write("build-info.json", "{}" + std::string((1 << 20) - 1, ' '));
  CHECK(described(directory).problem() ==
        "cannot read " + file.string() + ": it is longer than 1 MiB; build the plugin again");
}

TEST_CASE("a build-info.json that is no build info or no file is named with its cause") {
  const test::TempDirectory directory;
  directory.write("plugin", "a program");
  const auto file = directory.write("build-info.json", "{ damaged");
  CHECK(described(directory).problem() ==
        "cannot read " + file.string() + ": it is not a build info; build the plugin again");
  std::filesystem::remove(file);
  REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
  CHECK(described(directory).problem() ==
        "cannot read " + file.string() + ": it is not a regular file; build the plugin again");
}

}  // namespace kms::supervisor
