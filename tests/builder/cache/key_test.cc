#include "builder/cache/key.h"

#include <doctest/doctest.h>

#include <set>

#include "tests/support/temp_directory.h"

using kms::builder::installed_libraries;
using kms::builder::Recipe;
using kms::builder::stamp_of_inputs;
using mock_kms::v1::BuildInfo;

namespace {

BuildInfo example() {
  BuildInfo info;
  info.set_build_system("cmake");
  info.set_target("plugin");
  info.mutable_compiler()->set_path("/usr/bin/c++");
  info.mutable_compiler()->set_version("c++ 12");
  info.add_flags("-O2");
  info.add_flags("-g");
  auto* path = info.add_paths();
  path->set_path("provider");
  path->set_id("1111111111111111111111111111111111111111");
  return info;
}

std::string key_of(const BuildInfo& info, const Recipe& recipe = {}) {
  return kms::builder::build_key(info, recipe);
}

constexpr auto status = R"(Package: libssl-dev
Status: install ok installed
Section: libdevel
Version: 3.0.1

Package: vim
Section: editors
Version: 9

Package: g++
Version: 12.2
Section: devel

)";

}  // namespace

TEST_CASE("a key is the same for the same input, wherever the source comes from") {
  BuildInfo moved = example();
  moved.set_repository("elsewhere");
  moved.set_commit("2222222222222222222222222222222222222222");
  moved.mutable_transfer()->set_bytes(7);
  CHECK(key_of(example()) == key_of(moved));
  CHECK(key_of(example()).size() == 64);
}

TEST_CASE("everything that decides the binary changes the key") {
  std::set<std::string> keys{key_of(example())};
  const auto add = [&](auto change) {
    BuildInfo info = example();
    change(info);
    keys.insert(key_of(info));
  };
  add([](BuildInfo& info) { info.set_build_system("make"); });
  add([](BuildInfo& info) { info.set_target("other"); });
  add([](BuildInfo& info) { info.mutable_compiler()->set_version("c++ 13"); });
  add([](BuildInfo& info) { info.mutable_compiler()->set_path("/usr/bin/g++-none"); });
  add([](BuildInfo& info) { info.set_flags(0, "-O3"); });
  add([](BuildInfo& info) {
    info.clear_flags();
    info.add_flags("-O2\nflag 2 -g");  // not the same as two flags
  });
  add([](BuildInfo& info) { info.mutable_paths(0)->set_id("3333333333333333333333333333333333333333"); });
  add([](BuildInfo& info) { info.mutable_paths(0)->set_path("elsewhere"); });
  Recipe recipe;
  recipe.download_modules = true;
  keys.insert(key_of(example(), recipe));
  recipe.inputs = "x";
  keys.insert(key_of(example(), recipe));
  CHECK(keys.size() == 11);
}

TEST_CASE("a flag and a variable that read the same make two keys") {
  BuildInfo info = example();
  info.add_flags("CC=x");  // where both are on record
  Recipe recipe;
  recipe.environment = {"CC=x"};
  CHECK(key_of(info) != key_of(info, recipe));
}

TEST_CASE("inputs count by what is in them") {
  const kms::test::TempDirectory directory;
  directory.write("in/a/x", "1");
  const std::vector<std::string> paths{directory.path() / "in"};
  std::set<std::string> stamps{stamp_of_inputs({}), stamp_of_inputs(paths)};
  CHECK(stamp_of_inputs(paths) == stamp_of_inputs(paths));
  directory.write("in/a/x", "12");
  stamps.insert(stamp_of_inputs(paths));
  directory.write("in/a/y", "");
  stamps.insert(stamp_of_inputs(paths));
  std::filesystem::permissions(directory.path() / "in/a/y", std::filesystem::perms::owner_all);
  stamps.insert(stamp_of_inputs(paths));
  std::filesystem::create_symlink("x", directory.path() / "in/l");
  stamps.insert(stamp_of_inputs(paths));
  stamps.insert(stamp_of_inputs({directory.path() / "none"}));
  CHECK(stamps.size() == 7);
}

TEST_CASE("only packages that are compiled with or linked count") {
  const kms::test::TempDirectory root;
  root.write("var/lib/dpkg/status", status);
  CHECK(installed_libraries(root.path()) == "libssl-dev 3.0.1\ng++ 12.2\n");
}

TEST_CASE("a library in /usr/local counts by name, size and age, and all do where there is no dpkg") {
  const kms::test::TempDirectory root;
  CHECK(installed_libraries(root.path()).empty());
  root.write("usr/local/lib/libx.a", "12345");
  const std::string with_local = installed_libraries(root.path());
  CHECK(with_local.find("libx.a 5 ") != std::string::npos);
  root.write("usr/lib/liby.so", "1");
  CHECK(installed_libraries(root.path()).find("liby.so 1 ") != std::string::npos);
}
