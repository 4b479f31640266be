#include "builder/source/ref_name.h"

#include <doctest/doctest.h>

namespace {

using kms::builder::RefName;

RefName parsed(std::string_view text) { return *RefName::parse(text); }

}  // namespace

TEST_CASE("a short name is a branch first, then a tag") {
  CHECK(parsed("v1").candidates() == std::vector<std::string>{"refs/heads/v1", "refs/tags/v1"});
  CHECK(parsed("HEAD").candidates() == std::vector<std::string>{"HEAD"});
  CHECK(parsed("refs/pull/7/head").candidates() == std::vector<std::string>{"refs/pull/7/head"});
}

TEST_CASE("forty hex digits are a commit's id, in either case") {
  const RefName ref = parsed("ABCDEF0123456789ABCDEF0123456789ABCDEF01");
  CHECK(ref.is_commit_id());
  CHECK(ref.text() == "abcdef0123456789abcdef0123456789abcdef01");
  CHECK_FALSE(parsed("abcdef0").is_commit_id());
}

TEST_CASE("a tag has to have the name that is asked for, but for an id") {
  CHECK(parsed("release/1").tag_name() == "release/1");
  CHECK(parsed("refs/tags/release/1").tag_name() == "release/1");
  CHECK(parsed("0123456789012345678901234567890123456789").tag_name().empty());
}

TEST_CASE("a name that git refuses as a ref is refused") {
  for (const char* bad : {"", "-x", "a..b", "a b", "a~1", "a^", "a:b", "/a", "a/", "a@{1}", "*", "a."}) {
    CAPTURE(bad);
    CHECK(!RefName::parse(bad));
  }
}

TEST_CASE("a ref that is missing is answered with the nearest one") {
  const std::vector<std::string> refs{"refs/heads/main", "refs/tags/v1.2.0"};
  CHECK(parsed("mian").not_found("x", refs).line() ==
        "cannot find ref 'mian': x has no branch or tag of this name; did you mean 'main'?");
  CHECK(parsed("abcdef0").not_found("x", refs).next_step() == "give a commit's id with all of its 40 digits");
}
