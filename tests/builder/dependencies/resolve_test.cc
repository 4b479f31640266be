// The search for what CMake's files name, in sources that are made to keep it busy.
#include "builder/dependencies/resolve.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <string>

#include "tests/support/shell.h"
#include "tests/support/temp_directory.h"

namespace {

using namespace kms::builder;

/// A commit with the files that a shell script makes.
class Source {
 public:
  explicit Source(const std::string& script) {
    kms::test::shell(directory_.path(),
                     "git init -q -b main .; git config user.name t; git config user.email t@example.org; " +
                         script + "; git add .; git commit -qm x");
    git::prepare_library();
    repository_ = git::make<git::Repository>("open", git_repository_open, directory_.path().c_str());
    git_oid head{};
    git::check(git_reference_name_to_id(&head, repository_.get(), "HEAD"), "read HEAD");
    tree_.emplace(repository_.get(), head);
  }

  [[nodiscard]] std::vector<Dependency> needs(const Interruption& interruption) const {
    return missing_dependencies(*tree_, {"p"}, BuildSystem::cmake, interruption);
  }

 private:
  kms::test::TempDirectory directory_;
  git::Repository repository_;
  std::optional<SourceTree> tree_;
};

/// p/CMakeLists.txt includes p/0.cmake, that p/1.cmake, and so on; the last one names a directory.
std::string chain(int length) {
  const std::string last = std::to_string(length);
  return "mkdir p; echo 'include(0.cmake)' > p/CMakeLists.txt; seq 1 " + last +
         " | awk '{print \"include(\" $1 \".cmake)\" > (\"p/\" $1 - 1 \".cmake\"); close(\"p/\" $1 - 1 "
         "\".cmake\")}'; echo 'add_subdirectory(../needed x)' > p/" +
         last + ".cmake";
}

}  // namespace

TEST_CASE("a chain of twenty thousand includes is followed to its end") {
  const Interruption interruption;
  const std::vector<Dependency> needs = Source(chain(20'000)).needs(interruption);
  REQUIRE(needs.size() == 1);
  CHECK(needs.front().path == "needed");
  CHECK(needs.front().reason == "p/20000.cmake says add_subdirectory(needed)");
}

TEST_CASE("files that name others without end are given up") {
  // Each of 300 files is included from each of 300 directories.
  const Source source(
      "mkdir p; cd p; for i in $(seq 300); do mkdir $i; echo \"include(../all.cmake)\" > $i/CMakeLists.txt; "
      "echo \"include(\\${CMAKE_CURRENT_LIST_DIR}/$i.cmake)\" >> all.cmake; touch $i.cmake; "
      "echo \"add_subdirectory($i)\" >> CMakeLists.txt; done; cd ..");
  const Interruption interruption;
  CHECK_THROWS_WITH_AS((void)source.needs(interruption),
                       doctest::Contains("its CMake files name others without end"), kms::Error);
}

TEST_CASE("a signal ends the search") {
  const Source source(chain(10));
  const Interruption interruption;
  ::kill(::getpid(), SIGTERM);
  CHECK_THROWS_AS((void)source.needs(interruption), Interrupted);
  CHECK(interruption.take_name() == "SIGTERM");
}
