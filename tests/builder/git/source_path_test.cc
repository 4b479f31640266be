#include "builder/git/source_path.h"

#include <doctest/doctest.h>

using kms::builder::means_device;
using kms::builder::means_git_directory;
using kms::builder::source_path;
using kms::builder::why_bad_link;
using kms::builder::why_bad_name;

TEST_CASE("a path given by a person is cleaned, or refused where it could escape") {
  CHECK(*source_path("provider/") == "provider");
  CHECK(*source_path("./staging/src/kms") == "staging/src/kms");
  CHECK(*source_path("ümlaut/日本") == "ümlaut/日本");
  CHECK(*source_path("./") == ".");
  for (const char* bad : {"", "..", "/etc", "a/../b", "a//b", ".git", "a/.GIT/hooks", "a/./b", "a\nb"}) {
    CAPTURE(bad);
    CHECK(!source_path(bad));
  }
}

TEST_CASE("names that are not names are refused") {
  CHECK_FALSE(why_bad_name("..."));
  CHECK_FALSE(why_bad_name(".gitignore"));
  CHECK(why_bad_name(".Git"));
  CHECK(why_bad_name("a/b"));
  CHECK(why_bad_name(std::string(256, 'x')));
}

TEST_CASE(".git is known in all the forms that file systems take for it") {
  // NOLINTNEXTLINE(misc-misleading-bidirectional): these are what is tested.
  for (const char* form : {".git", ".GIT", ".giT", "git~1", "GIT~1", ".git.", ".git ", ".git . .", "git~1.",
                           ".git:stream", ".git\\hooks", "a\\.git", "a\\b\\git~1", ".g\u200cit",
                           ".gi\u202at\u206f", "\ufeff.git", ".git\u200c", ".git\xff", ".Gi\u200dT"}) {
    CAPTURE(form);
    CHECK(means_git_directory(form));
  }
  for (const char* other : {"git", ".gitignore", ".gitmodules", ".github", "git~2", "git~11", "agit~1",
                            ".git-x", ".git.x", "x.git", ".g\u00edt", "\xff.git", "..git", ".gi", ""}) {
    CAPTURE(other);
    CHECK_FALSE(means_git_directory(other));
  }
}

TEST_CASE("Windows' devices are known") {
  for (const char* device : {"con", "CON", "prn", "Aux", "nul", "NUL.txt", "aux.c", "com1", "LPT9", "lpt1.x",
                             "con ", "con  .x", "nul:", "conin$", "CONOUT$"}) {
    CAPTURE(device);
    CHECK(means_device(device));
  }
  for (const char* other : {"console", "cons", "com", "com0", "com10", "comx", "auxiliary", "null", "lpt",
                            "x.con", "conin", "co", "", "printer"}) {
    CAPTURE(other);
    CHECK_FALSE(means_device(other));
  }
}

TEST_CASE("names that climb by backslashes are refused, other backslashes are not") {
  for (const char* bad : {"..\\x", "a\\..\\b", "a\\..", "\\.."}) CHECK(why_bad_name(bad));
  for (const char* good : {"a\\b", "a..\\b", "dev\\x2dlabel.swap"}) CHECK_FALSE(why_bad_name(good));
}

TEST_CASE("a link may go up as far as the tree's root") {
  CHECK_FALSE(why_bad_link("a/b/link", "../../c"));
  CHECK_FALSE(why_bad_link("link", "a/./b"));
  CHECK(why_bad_link("a/link", "../../c"));
  CHECK(why_bad_link("link", ".."));
  CHECK(why_bad_link("link", "/etc/passwd"));
  CHECK(why_bad_link("a/link", "../.git/config"));
}

TEST_CASE("a link that goes up after going down is refused, since it may go through another link") {
  CHECK(why_bad_link("a/link", "b/../../c"));
}
