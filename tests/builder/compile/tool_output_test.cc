#include "builder/compile/tool_output.h"

#include <doctest/doctest.h>

using kms::builder::CompilerOutput;
using kms::builder::step_of;

TEST_CASE("ninja's and make's steps are read, other brackets are not") {
  CHECK(step_of("[3/17] Building CXX object x.o")->done == 3);
  CHECK(step_of("[3/17] Building CXX object x.o")->total == 17);
  CHECK(step_of("[ 42%] Building CXX object x.o")->done == 42);
  CHECK(step_of("[100%] Built target x")->total == 100);
  for (const char* line : {"", "[", "[x]", "[3/", "[9/3] x", "[[nodiscard]] int f();"}) {
    CAPTURE(line);
    CHECK_FALSE(step_of(line));
  }
}

TEST_CASE("the first error is quoted with the paths of the repository") {
  CompilerOutput output("/cache/work/src", "provider");
  output.add("[1/2] Building CXX object x.o");
  output.add("FAILED: x.o");
  output.add("/cache/work/src/provider/x.cc:3:1: error: 'foo' was not declared in this scope");
  output.add("/cache/work/src/provider/x.cc:9:1: error: another");
  CHECK(output.first_error() == "provider/x.cc:3:1: error: 'foo' was not declared in this scope");
  CHECK(output.failure_lines(10).size() == 3);
  CHECK(output.failure_lines(1) == std::vector<std::string>{"FAILED: x.o"});
}

TEST_CASE("a message that CMake breaks over lines is joined") {
  CompilerOutput output("/w/src", "p");
  output.add("-- The CXX compiler identification is GNU");
  output.add("CMake Error at CMakeLists.txt:3 (find_package):");
  output.add("");
  output.add("  Could not find a package configuration file provided by \"Foo\"");
  output.add("  with any of the following names:");
  output.add("");
  output.add("    FooConfig.cmake");
  CHECK(output.first_error() ==
        "CMake Error at p/CMakeLists.txt:3 (find_package): Could not find a package configuration file "
        "provided by "
        "\"Foo\" with any of the following names:");
}

TEST_CASE("without any known word the last lines are shown") {
  CompilerOutput output("/w/src", "p");
  for (int i = 0; i < 30; ++i) output.add("line " + std::to_string(i));
  CHECK(output.first_error().empty());
  CHECK(output.failure_lines(100).size() == 20);
}
