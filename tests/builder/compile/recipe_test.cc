#include "builder/compile/recipe.h"

#include <doctest/doctest.h>

#include "tests/support/temp_directory.h"

namespace kms::builder {
namespace {

constexpr auto go_1_26 = "go version go1.26.0 linux/amd64";
constexpr auto go_1_19 = "go version go1.19.8 linux/amd64";

/// A module with modules in vendor/, as the upstream mock has it: beside its go.mod is a go.work.
struct Module {
  explicit Module(std::string_view modules_txt) {
    directory.write("plugin/go.mod", "module example.org/p\n\ngo 1.22\n");
    directory.write("plugin/go.work", "go 1.22\n\nuse .\n");
    directory.write("plugin/vendor/modules.txt", modules_txt);
    dirs.source = directory.path();
    dirs.project = directory.path() / "plugin";
    recipe.system = BuildSystem::go;
    recipe.download_modules = true;
  }

  [[nodiscard]] bool downloads(const std::string& version) const {
    Toolchain tools;
    tools.compiler_version = version;
    return build_steps(recipe, dirs, tools).front().phase == "modules";
  }

  [[nodiscard]] bool ignores_vendor(const std::string& version) const {
    Toolchain tools;
    tools.compiler_version = version;
    return ignores_vendor_for_workspace(recipe, dirs, tools);
  }

  kms::test::TempDirectory directory;
  BuildDirs dirs;
  Recipe recipe;
};

constexpr auto by_go_mod_vendor = "# example.org/dep v1.0.0\n## explicit\nexample.org/dep\n";
constexpr auto by_go_work_vendor = "## workspace\n# example.org/dep v1.0.0\n## explicit\nexample.org/dep\n";

}  // namespace

TEST_CASE("what `go work vendor` made is compiled in the workspace") {
  const Module module(by_go_work_vendor);
  CHECK_FALSE(module.downloads(go_1_26));
  CHECK_FALSE(module.ignores_vendor(go_1_26));
}

TEST_CASE("what `go mod vendor` made is ignored in a workspace, as go does, and used without the workspace") {
  Module module(by_go_mod_vendor);
  CHECK(module.downloads(go_1_26));
  CHECK(module.ignores_vendor(go_1_26));
  module.recipe.environment = {"GOWORK=off"};
  CHECK_FALSE(module.downloads(go_1_26));
  CHECK_FALSE(module.ignores_vendor(go_1_26));
}

TEST_CASE("a go that knows no vendored workspaces uses the module's vendor/ in one") {
  const Module module(by_go_mod_vendor);
  CHECK_FALSE(module.downloads(go_1_19));
  CHECK_FALSE(module.ignores_vendor(go_1_19));
}

}  // namespace kms::builder
