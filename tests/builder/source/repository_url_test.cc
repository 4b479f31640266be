#include "builder/source/repository_url.h"

#include <doctest/doctest.h>

#include <array>
#include <iterator>
#include <random>

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

TEST_CASE("every form of a repository's URL is recognised") {
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

TEST_CASE("the path is decoded for git and ssh") {
  CHECK(parsed("git://host:9418/a%20b").path() == "/a b");
  CHECK(parsed("ssh://git@host/a%20b").secret_location() == "git@host:/a b");
  CHECK(parsed("ssh://git@host:22/a%20b").secret_location() == "[git@host:22]:/a b");
  CHECK(parsed("ssh://[::1]/a%20b").secret_location() == "[::1]:/a b");
  CHECK(parsed("ssh://me@[::1]:22/a%20b").secret_location() == "[me@[::1]:22]:/a b");
  CHECK(parsed("ssh://git@host/a%20b").display() == "ssh://host/a%20b");
  CHECK(parsed("ssh://git@host/a").secret_location() == "ssh://git@host/a");
  CHECK(refusal("git://host/a%0ab").find("control characters") != std::string::npos);
}

TEST_CASE("messages of libraries lose whatever the URL hides") {
  const RepositoryUrl url = parsed("https://me:p%2Fw@host/x?t=abc");
  CHECK(url.scrub("cannot get https://me:p%2Fw@host/x?t=abc") == "cannot get https://host/x");
  CHECK(url.scrub("wrong password p/w or p%2Fw") == "wrong password *** or ***");
  CHECK(url.scrub("query t=abc") == "query ***");
  CHECK(parsed("https://ghp_token@host/x").scrub("user ghp_token is unknown") == "user *** is unknown");
  CHECK(parsed("ssh://git@host/x").scrub("no git repository") == "no git repository");
}

TEST_CASE("a short name is a word of messages and stays, a short password goes as a word") {
  CHECK(parsed("https://git:hidden@host/x").scrub("not git's protocol: hidden") == "not git's protocol: ***");
  CHECK(parsed("https://git@host/x").scrub("not git's protocol") == "not git's protocol");
  CHECK(parsed("https://u:e@host/x").scrub("refuses 'e'") == "refuses '***'");
  CHECK(parsed("https://me:host@host/x").scrub("cannot reach host") == "cannot reach host");
}

TEST_CASE("ssh has three names, of which libgit2 reads one") {
  CHECK(parsed("git+ssh://git@host/x").secret_location() == "ssh://git@host/x");
  CHECK(parsed("ssh+git://git@host:22/x").secret_location() == "ssh://git@host:22/x");
  CHECK(parsed("git+ssh://git@host/x").display() == "git+ssh://host/x");
  CHECK(parsed("ssh://git@host/a b").secret_location() == "git@host:/a b");
}

TEST_CASE("a login with a reserved character is refused with what to write instead") {
  for (const char* url :
       {"https://bot:ab/cd@git.invalid/x.git", "https://bot:12/cd@git.invalid/x.git", "http://to/ken@host/x",
        "https://bot:a#b@host/x", "https://bot:a?b@host/x", "ssh://bot:a/b@host/x", "git://bot:a/b@host/x",
        "bot:secret@host:x.git", "bot:secret@host/x.git", "https:/bot:secret@host/x", "//bot:secret@host/x",
        "bot:secret@https://host/x", "//secret/@host:8443/x", "git@secret@host:x.git", "git@sec@[::1]/x",
        "a@b:c@d:e", "token@host/x"}) {
    CAPTURE(url);
    CHECK(refusal(url).find("percent-encode the password") != std::string::npos);
  }
  CHECK(refusal("https://bot:secret/x").find("port") != std::string::npos);
  CHECK(refusal("https://bot:secret/x").find("secret") == std::string::npos);
  CHECK(parsed("https://bot:ab%2Fcd@git.invalid/x.git").password() == "ab/cd");
  CHECK(parsed("https://host/%40scope/x").display() == "https://host/%40scope/x");
  CHECK(parsed("/srv/a:b@c").kind() == Kind::local);
  CHECK(parsed("https://[::1]:8443/x").display() == "https://[::1]:8443/x");
}

TEST_CASE("no form of a URL prints a password, whatever characters it has") {
  std::mt19937 random(1);
  const auto pick = [&](const auto& choices) {
    return std::string(
        choices[std::uniform_int_distribution<std::size_t>(0, std::size(choices) - 1)(random)]);
  };
  constexpr std::array prefixes{
      "http://",  "https://", "git://",    "ssh://",    "git+ssh://", "file://",      "ftp://",
      "HTTPS://", "https:/",  "https:",    "//",        "",           "url=https://", "https://https://",
      "git@",     "ext::",    "'https://", " https://", "file:"};
  constexpr std::array reserved{"",   "/",    "?",  "#",   "@",   ":",  "%", "%2F", "%zz", "[",
                                "]",  " ",    "//", "://", ":/@", "\\", "&", "=",   "1",   "12/",
                                "\t", "\xff", "$",  "'",   "\"",  "..", "-", "%00"};
  constexpr std::array users{"bot:", ":", "b/t:", "b@t:", "b?t:", "b#t:", "", "b:t:"};
  constexpr std::array places{"@git.invalid/x.git", "@git.invalid:8443/x", "@[::1]/x", "@host:x.git",
                              "@host"};
  for (int i = 0; i < 20'000; ++i) {
    std::string text;  // += because compilers draw the operands of + in different orders
    text += pick(prefixes);
    text += pick(users);
    for (const char* part : {"MARK", "MARK", ""}) {
      text += pick(reserved);
      text += part;
    }
    text += pick(places);
    // A path may hold an @.
    const bool is_path = text.starts_with("file:///") || (text.starts_with('/') && !text.starts_with("//"));
    if (is_path || text.starts_with("MARK://")) continue;  // there MARK is the scheme
    CAPTURE(text);
    const auto outcome = RepositoryUrl::parse(text);
    const std::string shown =
        outcome ? outcome->display() + outcome->scrub("cannot reach '" + text + "'") : outcome.error().line();
    CHECK(shown.find("MARK") == std::string::npos);
  }
}

TEST_CASE("a malformed repository URL is refused with the forms to use") {
  CHECK(refusal("").find("empty; give") != std::string::npos);
  CHECK(refusal("ftp://user:pw@host/x").find("'ftp' is not a scheme") != std::string::npos);
  CHECK(refusal("1secret://x@host").find("secret") == std::string::npos);
  CHECK(refusal("ftp://user:pw@host/x").find("pw") == std::string::npos);
  CHECK(refusal("https:///x").find("names no host") != std::string::npos);
  CHECK(refusal("https://user:pw@/x").find("names no host") != std::string::npos);
  CHECK(refusal("file://other/x").find("another host") != std::string::npos);
  CHECK(refusal("https://host/x\ny").find("control characters") != std::string::npos);
}
