#include "builder/checkout/write.h"

#include <doctest/doctest.h>

#include <string>

#include "builder/source/fetch.h"
#include "builder/source/local.h"
#include "tests/support/shell.h"
#include "tests/support/temp_directory.h"

namespace {

namespace fs = std::filesystem;
using namespace kms::builder;
using kms::test::TempDirectory;

/// A repository in a temporary directory, made by the git command line, and its opened HEAD.
class Repository {
 public:
  explicit Repository(const std::string& script) {
    fs::create_directory(root());
    fs::create_directory(directory_.path() / "out");
    shell("git init -q -b main . && git config user.name t && git config user.email t@example.org");
    shell(script);
  }

  /// Runs `script` in the checkout; its output's last line.
  std::string shell(const std::string& script) const { return kms::test::shell(root(), script); }

  [[nodiscard]] Fetched head() const {
    return open_local(
        {*RepositoryUrl::parse(root().string()), *RefName::parse("HEAD"), directory_.path(), {}});
  }

  [[nodiscard]] CheckoutResult check_out(const std::vector<std::string>& paths) const {
    const Fetched fetched = head();
    return kms::builder::check_out(fetched.objects.get(), fetched.commit, paths, out());
  }

  /// The error by which check_out() refuses `paths`; also requires that nothing was written.
  [[nodiscard]] std::string refusal(const std::vector<std::string>& paths) const {
    try {
      static_cast<void>(check_out(paths));
    } catch (const kms::Error& error) {
      CHECK(fs::is_empty(out()));
      return error.what();
    }
    return "";
  }

  [[nodiscard]] fs::path root() const { return directory_.path() / "repo"; }
  [[nodiscard]] fs::path out() const { return directory_.path() / "out"; }

 private:
  TempDirectory directory_;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Commits `tree entries` as git-mktree(1) reads them, as directory "bad" of the root.
std::string commit_bad_tree(const std::string& entries) {
  return "blob=$(printf content | git hash-object -w --stdin)\n"
         "link() { printf %s \"$1\" | git hash-object -w --stdin; }\n"
         "bad=$(printf '" +
         entries +
         "' | git mktree --missing)\n"
         "root=$(printf \"040000 tree $bad\\tbad\\n\" | git mktree)\n"
         "git update-ref refs/heads/main $(git commit-tree -m bad $root)";
}

struct RawEntry {
  std::string mode;
  std::string name;
  std::string content = "content";  ///< of its blob; for mode 40000 it is an empty directory
};

/// Commits trees that git-mktree(1) would refuse, written byte by byte.
class RawTree : public Repository {
 public:
  /// The directory "bad" of the root.
  explicit RawTree(const std::vector<RawEntry>& entries) : RawTree() {
    std::string tree;
    for (const RawEntry& entry : entries) {
      const bool directory = entry.mode == "40000";
      tree += line(entry.mode, entry.name,
                   store(directory ? "" : entry.content, directory ? GIT_OBJECT_TREE : GIT_OBJECT_BLOB));
    }
    commit(store(line("40000", "bad", store(tree, GIT_OBJECT_TREE)), GIT_OBJECT_TREE));
  }

  /// As many directories "d", each in the one before.
  explicit RawTree(int levels) : RawTree() {
    git_oid tree = store("", GIT_OBJECT_TREE);
    for (int i = 0; i < levels; ++i) tree = store(line("40000", "d", tree), GIT_OBJECT_TREE);
    commit(tree);
  }

 private:
  RawTree() : Repository("true") {
    git::prepare_library();
    const auto repository =
        git::make<git::Repository>("open", git_repository_open, static_cast<const char*>(root().c_str()));
    git_odb* raw = nullptr;
    REQUIRE(git_repository_odb(&raw, repository.get()) == 0);
    objects_.reset(raw);
  }

  static std::string line(const std::string& mode, const std::string& name, const git_oid& id) {
    return mode + " " + name + '\0' + std::string(reinterpret_cast<const char*>(id.id), 20);
  }

  [[nodiscard]] git_oid store(const std::string& bytes, git_object_t type) const {
    git_oid id{};
    REQUIRE(git_odb_write(&id, objects_.get(), bytes.data(), bytes.size(), type) == 0);
    return id;
  }

  void commit(const git_oid& tree) const {
    shell("git update-ref refs/heads/main $(git commit-tree -m bad " + git::hex(tree) + ")");
  }

  git::Database objects_;
};

std::string refusal_of(const std::vector<RawEntry>& entries) { return RawTree(entries).refusal({"bad"}); }

}  // namespace

TEST_CASE("a checkout equals git archive of the same paths") {
  const Repository repository(
      "mkdir -p a/b/c d other ünï\n"
      "echo 1 > a/one; printf 'no end' > a/b/two; echo x > a/b/c/run; chmod +x a/b/c/run; ln -s ../one "
      "a/b/link\n"
      "ln -s . a/self; ln -s nowhere a/dangling; : > a/empty; head -c 100000 /dev/urandom > d/binary\n"
      "echo y > other/no; echo z > ünï/ﬁle\n"
      "git add . && git commit -qm all && mkdir ../expected\n"
      "git archive HEAD a d/binary ünï | tar -x -C ../expected\n"
      "echo '* text=auto eol=crlf' > .gitattributes; git add .; git commit -qm 'attributes, which do not "
      "apply'");
  const CheckoutResult result = repository.check_out({"a", "d/binary", "ünï"});
  CHECK(result.files == 9);
  CHECK(result.paths[0].id == repository.shell("git rev-parse HEAD:a"));
  CHECK(result.paths[1].id == repository.shell("git rev-parse HEAD:d/binary"));
  repository.shell("diff -r --no-dereference ../expected ../out");
  repository.shell("cd ../out && test -x a/b/c/run && test ! -x a/one && test ! -e other");
}

TEST_CASE("a path inside another asked path is written once") {
  const Repository repository("mkdir -p a/b; echo 1 > a/b/c; git add .; git commit -qm all");
  CHECK(repository.check_out({"a", "a/b", "a/b/c"}).files == 1);
}

TEST_CASE("a path that is not in the tree is answered with the nearest name") {
  const Repository repository("mkdir provider; echo 1 > provider/x; git add .; git commit -qm all");
  CHECK(repository.refusal({"provder"}) ==
        "cannot find 'provder' in the commit's tree; did you mean 'provider'?");
  CHECK(contains(repository.refusal({"provider/nothing/here"}), "cannot find 'provider/nothing/here'"));
  CHECK(contains(repository.refusal({"provider/x/below"}), "cannot find 'provider/x/below'"));
}

TEST_CASE("links out of the tree are refused before anything is written") {
  const auto link_to = [](const std::string& target) {
    return "mkdir a; echo 1 > a/0; ln -s " + target + " a/zlink; git add .; git commit -qm all";
  };
  for (const char* target :
       {"/etc/passwd", "../../outside", "b/../../../x", "../.git/config", "../git~1/x", "../.GIT./x"}) {
    CAPTURE(target);
    CHECK(contains(Repository(link_to(target)).refusal({"a"}),
                   "cannot check out 'a/zlink': it is a symbolic link"));
  }
}

TEST_CASE("hostile names are refused before anything is written") {
  for (const char* name :
       {"..", ".", "a/b", ".git", ".GiT", "git~1", "GIT~1", ".git ", ".git...", ".git::$INDEX_ALLOCATION",
        ".g\u200cit", "\ufeff.GIT", "x\\.git", "..\\up", "con", "aux.c", "COM1", "a\nb"}) {
    CAPTURE(name);
    for (const char* mode : {"100644", "40000", "120000"}) {
      const std::string why = refusal_of({{"100644", "0"}, {mode, name}});
      CHECK(contains(why, "cannot check out 'bad/"));
      CHECK(!contains(why, "\n"));
    }
  }
}

TEST_CASE("an entry that is neither a file nor a directory nor a link is refused") {
  for (const char* mode : {"20644", "60644", "10644", "140644", "100000", "0"}) {
    CAPTURE(mode);
    CHECK(contains(refusal_of({{mode, "x"}}), "neither a file nor a directory nor a link"));
  }
  CHECK(RawTree({RawEntry{"100664", "x"}}).check_out({"bad"}).files == 1);
}

TEST_CASE("a tree that holds one name twice is refused") {
  CHECK(contains(refusal_of({{"100644", "x"}, {"120000", "x", "y"}}), "holds this name twice"));
  CHECK(contains(refusal_of({{"120000", "x", "y"}, {"40000", "x"}}), "holds this name twice"));
  CHECK(contains(refusal_of({{"100644", "x"}, {"100755", "x"}}), "holds this name twice"));
}

TEST_CASE("a link may not stand for a directory of another case, other names may") {
  CHECK(contains(refusal_of({{"120000", "A", "elsewhere"}, {"40000", "a"}}),
                 "differs from 'bad/A' in case alone"));
  CHECK(contains(refusal_of({{"100644", "B"}, {"120000", "b", "x"}}), "differs from 'bad/B' in case alone"));
  CHECK(RawTree({RawEntry{"100644", "X"}, RawEntry{"100644", "x"}}).check_out({"bad"}).files == 2);
}

TEST_CASE("a link's target that is no path is refused before it is read") {
  CHECK(contains(refusal_of({{"120000", "x", std::string(5000, 'a')}}), "longer than a path can be"));
  CHECK(contains(refusal_of({{"120000", "x", ""}}), "it points nowhere"));
  CHECK(contains(refusal_of({{"120000", "x", std::string("a\0b", 3)}}), "zero byte"));
}

TEST_CASE("a tree that nests without end is refused, however deep") {
  CHECK(contains(RawTree(2100).refusal({"d"}), "its path is too long"));
}

TEST_CASE("submodules are refused") {
  const Repository repository(
      commit_bad_tree("160000 commit 0123456789012345678901234567890123456789\\tmodule\\n"));
  CHECK(contains(repository.refusal({"bad"}), "it is a submodule"));
}
