#include "common/text/glob.h"

#include <doctest/doctest.h>

#include <string>

namespace kms {
namespace {

TEST_CASE("a pattern matches as a shell's does, in bounded time") {
  CHECK(glob_match("*", ""));
  CHECK(glob_match("", ""));
  CHECK(!glob_match("", "a"));
  CHECK(glob_match("a*b*c", "a-b-b-c"));
  CHECK(!glob_match("a*b*c", "a-b-b-d"));
  CHECK(!glob_match("?", ""));
  CHECK(glob_match("**?", "x"));
  CHECK(!glob_match(std::string(1000, '*') + "b", std::string(10'000, 'a')));
}

}  // namespace
}  // namespace kms
