#include "builder/dependencies/go.h"

#include <doctest/doctest.h>

using kms::builder::go_directories;
using Paths = std::vector<std::string>;

TEST_CASE("replacements by directories are found in lines and in blocks") {
  const auto found = go_directories(R"(module example.org/plugin // replace a => ./not

go 1.19

require k8s.io/kms v0.0.0

replace k8s.io/kms => ../../../../kms

replace (
	// replace x => ./commented
	example.org/a v1.2.3 => ./a // why
	"example.org/b" => "../b c"
	example.org/c => example.org/fork v1.0.0
)
replace example.org/d => .
)");
  CHECK(found.replacements == Paths{"../../../../kms", "./a", "../b c", "."});
  CHECK(found.modules.empty());
}

TEST_CASE("a workspace's modules are found") {
  const auto found = go_directories("go 1.22\nuse .\nuse (\n\t./tools\n\t`../other`\n)\nreplace a => ../a\n");
  CHECK(found.modules == Paths{".", "./tools", "../other"});
  CHECK(found.replacements == Paths{"../a"});
}

TEST_CASE("absolute replacements and broken lines name no directory") {
  const auto found =
      go_directories("replace a => /abs\nreplace a =>\nreplace => ./x\nreplace\nuse\n\"\nreplace (\nb =>");
  CHECK(found.replacements == Paths{"./x"});
  CHECK(found.modules.empty());
  CHECK(go_directories("").replacements.empty());
}
