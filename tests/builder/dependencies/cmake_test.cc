#include "builder/dependencies/cmake.h"

#include <doctest/doctest.h>

namespace {

using namespace kms::builder;

/// "d:" before a directory, "f:" before a file, by blanks.
std::string references(std::string_view text,
                       const CMakeDirectories& directories = {"p", "p/sub", "p/sub/cmake"}) {
  std::string all;
  for (const CMakeReference& reference : cmake_references(text, directories)) {
    all += (all.empty() ? "" : " ") +
           std::string(reference.kind == CMakeReference::Kind::directory ? "d:" : "f:") + reference.path;
  }
  return all;
}

}  // namespace

TEST_CASE("relative directories and files are told from the current directory") {
  CHECK(references("add_subdirectory(../../proto proto)") == "d:proto");
  CHECK(references("ADD_SUBDIRECTORY( # why\n  lib/\n)") == "d:p/sub/lib");
  CHECK(references("include(cmake/Fast.cmake)\ninclude(\"x y.cmake\" OPTIONAL)") ==
        "f:p/sub/cmake/Fast.cmake f:p/sub/x y.cmake");
  CHECK(references("add_subdirectory(../../..)") == "d:..");
  CHECK(references("add_subdirectory(../..)") == "d:.");
}

TEST_CASE("the variables of a project's own directories are known") {
  CHECK(references("add_subdirectory(${CMAKE_CURRENT_SOURCE_DIR}/../../proto proto)") == "d:proto");
  CHECK(references("include(${CMAKE_CURRENT_LIST_DIR}/a.cmake)") == "f:p/sub/cmake/a.cmake");
  CHECK(references("add_subdirectory(${PROJECT_SOURCE_DIR}/a) add_subdirectory(${CMAKE_SOURCE_DIR}/../b)") ==
        "d:p/a d:b");
}

TEST_CASE("modules, absolute paths and other variables are left out") {
  CHECK(references("include(CTest) include(/usr/share/x.cmake) add_subdirectory(${X}/a) include(${X}.cmake)")
            .empty());
  CHECK(references("add_subdirectory() include() add_library(x ../y.cc)").empty());
}

TEST_CASE("comments, quotes and brackets hide nothing and show nothing") {
  CHECK(references("# add_subdirectory(no)\n#[[ add_subdirectory(no) ]] add_subdirectory(yes)") ==
        "d:p/sub/yes");
  CHECK(references("message(\"add_subdirectory(no)\") set(x [=[ add_subdirectory(no) ]] ]=]) "
                   "add_subdirectory([[a b]])") == "d:p/sub/a b");
  CHECK(references("if(x AND (y OR z))\nadd_subdirectory(in)\nendif()") == "d:p/sub/in");
}

TEST_CASE("a file that breaks off is read as far as it goes") {
  for (const char* text :
       {"add_subdirectory(", "add_subdirectory(\"a", "#[[", "include([==[", "x", "(", "add_subdirectory"}) {
    CAPTURE(text);
    CHECK_NOTHROW((void)references(text));
  }
}
