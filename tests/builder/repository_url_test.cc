#include "builder/source/repository_url.h"

#include <doctest/doctest.h>

namespace {

using kms::builder::RepositoryUrl;
using Kind = RepositoryUrl::Kind;

RepositoryUrl parsed(std::string_view text) {
  auto outcome = RepositoryUrl::parse(text);
  REQUIRE_MESSAGE(outcome.ok(), outcome.error().line());
  return *outcome;
}

std::string refusal(std::string_view text) {
  const auto outcome = RepositoryUrl::parse(text);
  return outcome.ok() ? "" : outcome.error().line();
}

}  // namespace

TEST_CASE("every form of a repository's place is told apart") {
  CHECK(parsed("http://host/x.git").kind() == Kind::http);
  CHECK(parsed("https://host:8443/x.git").kind() == Kind::https);
  CHECK(parsed("git://host/x").kind() == Kind::git);
  CHECK(parsed("ssh://git@host:22/x").kind() == Kind::ssh);
  CHECK(parsed("git@host:team/x.git").kind() == Kind::ssh);
  CHECK(parsed("host:x.git").kind() == Kind::ssh);
  CHECK(parsed("file:///srv/x%20y.git").secret_location() == "/srv/x y.git");
  CHECK(parsed("file://localhost/srv/x").secret_location() == "/srv/x");
  CHECK(parsed("/srv/x.git").kind() == Kind::local);
  CHECK(parsed("./a:b").kind() == Kind::local);
  CHECK(parsed("..").kind() == Kind::local);
}

TEST_CASE("a URL is shown without userinfo, query and fragment") {
  CHECK(parsed("https://me:s3cret@host:8443/x.git").display() == "https://host:8443/x.git");
  CHECK(parsed("https://token@host/x.git").display() == "https://host/x.git");
  CHECK(parsed("https://host/x.git?private_token=abc#frag").display() == "https://host/x.git");
  CHECK(parsed("ssh://git@host/x").display() == "ssh://host/x");
  CHECK(parsed("git@host:x.git").display() == "host:x.git");
  CHECK(parsed("https://a@b:c@d:e@host/x").display() == "https://host/x");
}

TEST_CASE("user and password are decoded for the server") {
  const RepositoryUrl url = parsed("https://m%40e:p%2Fw@host/x");
  CHECK(url.user() == "m@e");
  CHECK(url.password() == "p/w");
}

TEST_CASE("messages of libraries lose whatever the URL hides") {
  const RepositoryUrl url = parsed("https://me:p%2Fw@host/x?t=abc");
  CHECK(url.scrub("cannot get https://me:p%2Fw@host/x?t=abc") == "cannot get https://host/x");
  CHECK(url.scrub("wrong password p/w or p%2Fw") == "wrong password *** or ***");
  CHECK(url.scrub("query t=abc") == "query ***");
  CHECK(parsed("https://ghp_token@host/x").scrub("user ghp_token is unknown") == "user *** is unknown");
  CHECK(parsed("ssh://git@host/x").scrub("no git repository") == "no git repository");
}

TEST_CASE("what is no place of a repository is refused with what is") {
  CHECK(refusal("").find("empty; give") != std::string::npos);
  CHECK(refusal("ftp://user:pw@host/x").find("'ftp' is no scheme") != std::string::npos);
  CHECK(refusal("ftp://user:pw@host/x").find("pw") == std::string::npos);
  CHECK(refusal("https:///x").find("names no host") != std::string::npos);
  CHECK(refusal("https://user:pw@/x").find("names no host") != std::string::npos);
  CHECK(refusal("file://other/x").find("another host") != std::string::npos);
  CHECK(refusal("https://host/x\ny").find("control characters") != std::string::npos);
}
