"""`builder fetch`: the files equal git's own export, over every transport and with every strategy, for few bytes."""
import io
import os
import pathlib
import shutil
import stat
import subprocess
import tarfile
import tempfile

import pytest
from conftest import BUILDER
from support import huge_repository
from support.git_servers import GitDaemon, GitHttp, git
from support.relay import Relay
from support.sshd import Sshd

LEAPS = "v2, three directory levels a request"


def exported(repository, commit, *paths):
    """{path: (kind, content)} of `git archive`."""
    done = subprocess.run(["git", "-C", repository, "archive", commit, *[p for p in paths if p != "."]],
                          check=True, capture_output=True)
    tree = {}
    archive = tarfile.open(fileobj=io.BytesIO(done.stdout))
    for entry in archive:
        if entry.issym():
            tree[entry.name] = ("link", entry.linkname)
        elif entry.isfile():
            kind = "program" if entry.mode & stat.S_IXUSR else "file"
            tree[entry.name] = (kind, archive.extractfile(entry.name).read())
    return tree


def on_disk(directory):
    tree = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            tree[name] = ("link", os.readlink(path))
        elif path.is_file():
            tree[name] = ("program" if path.stat().st_mode & stat.S_IXUSR else "file", path.read_bytes())
    return tree


def fill(repository):
    """Deep directories with all that a tree can hold; returns the commit."""
    deep = repository.path / "a" / "b" / "c" / "d" / "e"
    deep.mkdir(parents=True)
    (deep / "binary").write_bytes(bytes(range(256)) * 40)
    (deep / "program.sh").write_text("#!/bin/sh\n")
    (deep / "program.sh").chmod(0o755)
    (deep / "link").symlink_to("../e/binary")
    (deep / "empty").write_text("")
    return repository.commit({"a/b/c/d/e/text": "line\r\nline\n", "a/b/x": "x", "a/b/c/y/z": "z", "top": "top\n",
                              "ünïcødé/ñ": "n", "other/1/2/3/4/5": "5"})


@pytest.fixture
def shop(workshop):
    workshop.source.git("config", "uploadpack.allowFilter", "true")
    workshop.commit = fill(workshop.source)
    return workshop


@pytest.fixture(params=["path", "http", "git", "ssh"])
def place(request, shop):
    if request.param == "path":
        return shop.source.path
    if request.param == "ssh":
        server = Sshd(shop.directory / "sshd", shop.directory)
        request.addfinalizer(lambda: server.__exit__())
        return server.url(shop.source.path)
    return request.getfixturevalue(f"git_{'daemon' if request.param == 'git' else 'http'}").url("source/.git")


# --- content ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("paths", [
    ["a/b/c/d/e"], ["a/b/c", "other"], ["a/b/c/d/e/link"], ["a/b/c/d/e/program.sh", "top"], ["ünïcødé"], ["."], ["top"],
    ["a/b/c/d/e", "a/b/c/d"], ["other/1/2/3/4/5", "a/b/x"]], ids=" ".join)
def test_what_is_fetched_equals_git_archive(shop, place, paths):
    done = shop.fetched(*[word for path in paths for word in ("--path", path)], repo=place)
    assert on_disk(done.directory) == exported(shop.source.path, shop.commit, *paths)
    assert done.stdout.startswith(f"Fetched: {done.directory}\n")


def test_without_paths_everything_is_fetched(shop, git_http):
    done = shop.fetched(repo=git_http.url("source/.git"))
    assert on_disk(done.directory) == exported(shop.source.path, shop.commit)
    assert done.strategy == "v2, whole commit"


def test_attributes_of_the_repository_do_not_apply(shop, git_http):
    shop.source.commit({".gitattributes": "* text eol=crlf\n"})
    done = shop.fetched("--path", "top", repo=git_http.url("source/.git"))
    assert (done.directory / "top").read_bytes() == b"top\n"


@pytest.mark.parametrize("path, words", [
    ("nothing/x", "cannot find 'nothing/x'"), ("a/b/nothing/x", "cannot find 'a/b/nothing/x'"),
    ("top/x", "cannot find 'top/x'"), ("a/b/c/d/e/none", "cannot find")])
def test_a_path_that_is_not_there(shop, place, path, words):
    assert words in shop.fetch_failure("--path", path, repo=place)


def test_a_submodule_is_refused(shop, git_http):
    shop.source.git("update-index", "--add", "--cacheinfo", f"160000,{shop.commit},a/b/module")
    shop.source.git("commit", "-q", "-m", "module")
    for path in ("a/b", "a/b/module"):
        assert "'a/b/module': it is a submodule" in shop.fetch_failure("--path", path, repo=git_http.url("source/.git"))


def test_an_empty_directory_comes_as_one(shop, place):
    """git's command line never stores one, but other tools do."""
    empty = shop.source.git("mktree", stdin="")
    tree = shop.source.git("mktree", stdin=f"040000 tree {empty}\tvoid\n100644 blob {shop.source.id('HEAD:top')}\tfile\n")
    root = shop.source.git("mktree", stdin=f"040000 tree {tree}\touter\n")
    shop.source.git("update-ref", "refs/heads/void", shop.source.git("commit-tree", "-m", "x", root))
    done = shop.fetched("--ref", "void", "--path", "outer", repo=place)
    assert (done.directory / "outer" / "void").is_dir() and not list((done.directory / "outer" / "void").iterdir())
    assert on_disk(done.directory) == exported(shop.source.path, "void", "outer")


def test_a_directory_that_is_not_empty_is_left_alone(shop):
    (shop.directory / "full").mkdir()
    (shop.directory / "full" / "x").write_text("mine")
    done = shop.fetch(into=shop.directory / "full")
    assert done.returncode == 1 and "not an empty directory" in done.stderr
    (shop.directory / "void").mkdir()
    assert shop.fetched("--path", "top", into=shop.directory / "void").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a directory of somebody else's")
def test_a_directory_of_somebody_else_is_not_filled(shop):
    stage = shop.directory / ".into.builder-new"
    stage.mkdir(mode=0o777)
    os.chown(stage, 12345, 12345)
    done = subprocess.run([BUILDER, "fetch", "--repo", shop.source.path, "--into", shop.directory / "into"], env=shop.environment,
                          capture_output=True, text=True)
    assert done.returncode == 1 and f"{stage} belongs to another user; remove it, or give another --into" in done.stderr
    assert not (shop.directory / "into").exists()


# --- refs ------------------------------------------------------------------------------------------------------------

def test_annotated_tags_even_of_tags_and_ids_lead_to_their_commit(shop, place):
    shop.source.git("tag", "-a", "-m", "one", "one")
    shop.source.git("tag", "-a", "-m", "two", "two", "one")
    shop.source.commit({"top": "changed"})
    for number, ref in enumerate(("one", "two", shop.commit)):
        done = shop.fetched("--ref", ref, "--path", "top", repo=place, into=shop.directory / str(number))
        assert (done.directory / "top").read_text() == "top\n"


@pytest.mark.parametrize("ref", ["HEAD", "main", "refs/heads/main", "release/1.0", "light", "refs/tags/light"])
def test_refs_of_every_kind(shop, place, ref):
    shop.source.git("branch", "release/1.0")
    shop.source.git("tag", "light")
    done = shop.fetched("--ref", ref, "--path", "top", repo=place)
    assert f"commit={shop.commit}" in done.stderr


def test_an_unknown_ref_is_named_with_its_neighbour(shop, place):
    line = shop.fetch_failure("--ref", "maim", repo=place)
    assert "cannot find ref 'maim'" in line and line.endswith("did you mean 'main'?")
    assert "cannot find commit 1111" in shop.fetch_failure("--ref", "1" * 40, repo=place)


def test_a_head_that_is_not_born(workshop, git_http):
    workshop.source.git("config", "uploadpack.allowFilter", "true")
    assert "cannot find HEAD" in workshop.fetch_failure(repo=git_http.url("source/.git"))


def test_sixty_thousand_refs_and_as_many_commits_cost_nothing(workshop, git_http, git_daemon):
    repository = huge_repository.generate(workshop.directory / "srv" / "long.git", files=600, history=60_000)
    head = git(repository, "rev-parse", "HEAD")
    (repository / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + "".join(
        sorted(f"{head} refs/heads/branch-{n:05}\n" for n in range(60_000))) + f"{head} refs/heads/main\n")
    for number, server in enumerate((git_http, git_daemon)):
        done = workshop.fetched("--ref", "main", "--path", huge_repository.PLUGIN, repo=server.url("long.git"),
                                into=workshop.directory / str(number))
        assert len(on_disk(done.directory)) == huge_repository.PLUGIN_FILES
        assert done.bytes < 60_000


@pytest.mark.parametrize("transport", ["http", "git"])
@pytest.mark.parametrize("ref", ["HEAD", "refs/heads/main", "refs/tags/outer"])
def test_a_server_that_gives_refs_by_name_saves_a_request(shop, request, ref, transport):
    shop.source.git("tag", "-a", "-m", "x", "inner")
    shop.source.git("tag", "-a", "-m", "x", "outer", "inner")
    url = request.getfixturevalue("git_http" if transport == "http" else "git_daemon").url("source/.git")
    without = shop.fetched("--ref", ref, "--path", "a/b/c", repo=url)
    shop.source.git("config", "uploadpack.allowRefInWant", "true")
    done = shop.fetched("--ref", ref, "--path", "a/b/c", repo=url, into=shop.directory / "by-name")
    assert done.requests == without.requests - 1 and done.strategy == LEAPS
    assert f"commit={shop.commit}" in done.stderr
    assert on_disk(done.directory) == exported(shop.source.path, shop.commit, "a/b/c")


@pytest.mark.parametrize("ref, words", [("refs/heads/maim", "cannot find ref 'refs/heads/maim'"), ("refs/heads/hidden", "cannot find ref 'refs/heads/hidden'")])
def test_a_ref_that_a_server_does_not_give_by_name_is_looked_up(shop, git_http, ref, words):
    shop.source.git("config", "uploadpack.allowRefInWant", "true")
    shop.source.git("branch", "hidden")
    shop.source.git("config", "uploadpack.hideRefs", "refs/heads/hidden")
    assert words in shop.fetch_failure("--ref", ref, "--path", "top", repo=git_http.url("source/.git"))


def test_the_strategy_is_known_if_the_ref_by_name_brings_all_that_there_is(shop, git_http):
    shop.source.git("config", "uploadpack.allowRefInWant", "true")
    assert f'strategy="{LEAPS}"' in shop.fetch("--path", "no/such", repo=git_http.url("source/.git")).stderr


def test_a_server_that_refuses_the_filter_of_a_ref_by_name_is_asked_by_the_next_strategy(shop, git_http):
    shop.source.git("config", "uploadpack.allowRefInWant", "true")
    shop.source.git("config", "uploadpackfilter.tree.allow", "false")
    done = shop.fetched("--path", "a/b/c", repo=git_http.url("source/.git"))
    assert done.strategy == "v2, all directories at once"
    assert '"three directory levels a request"' not in done.stderr, "a filter that was refused is not tried again"
    assert on_disk(done.directory) == exported(shop.source.path, shop.commit, "a/b/c")


@pytest.mark.parametrize("pin", [True, False])
def test_a_ref_by_name_is_pinned_too(shop, git_http, pin):
    without = shop.fetched("--commit", shop.commit, "--path", "top", repo=git_http.url("source/.git"), into=shop.directory / "by-id")
    shop.source.git("config", "uploadpack.allowRefInWant", "true")
    if pin:
        done = shop.fetched("--commit", shop.commit, "--path", "top", repo=git_http.url("source/.git"))
        assert done.requests == without.requests - 1
    else:
        assert "--commit demands" in shop.fetch_failure("--commit", "1" * 40, "--path", "top", repo=git_http.url("source/.git"))


# --- strategies ------------------------------------------------------------------------------------------------------

STRATEGIES = {
    "leaps": ({}, 2, LEAPS),
    "depths banned": ({"uploadpackfilter.tree.maxDepth": "0"}, 2, "v2, one directory level a request"),
    "combinations banned": ({"uploadpackfilter.combine.allow": "false"}, 2, "v2, one directory level a request"),
    "trees banned": ({"uploadpackfilter.tree.allow": "false"}, 2, "v2, all directories at once"),
    "all filters banned": ({"uploadpackfilter.allow": "false"}, 2, "v2, whole commit"),
    "no filters": ({"uploadpack.allowFilter": "false"}, 2, "v2, whole commit"),
    "v0": ({}, 0, "v0, whole commit"),
    "v0, any object": ({"uploadpack.allowAnySHA1InWant": "true"}, 0, "v0, three directory levels a request"),
    "v0, depths banned": ({"uploadpack.allowAnySHA1InWant": "true", "uploadpackfilter.tree.maxDepth": "0"}, 0,
                          "v0, one directory level a request"),
    "v0, trees banned": ({"uploadpack.allowAnySHA1InWant": "true", "uploadpackfilter.tree.allow": "false"}, 0,
                         "v0, all directories at once"),
    "v0, no filters": ({"uploadpack.allowFilter": "false"}, 0, "v0, whole commit"),
}


@pytest.mark.parametrize("transport", ["http", "git"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_brings_the_same(shop, strategy, transport):
    configuration, version, expected = STRATEGIES[strategy]
    for name, value in configuration.items():
        shop.source.git("config", name, value)
    with {"http": GitHttp, "git": GitDaemon}[transport](shop.directory / "srv", version=version) as server:
        done = shop.fetched("--path", "a/b/c/d/e", "--path", "other", repo=server.url("source/.git"))
        assert done.strategy == expected
        assert on_disk(done.directory) == exported(shop.source.path, shop.commit, "a/b/c/d/e", "other")


def http_answer(body):
    return (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)) + body


@pytest.mark.parametrize("what", ["a filter is answered by nothing", "a directory is not given by its id"])
def test_a_refusal_during_the_fetch_leads_to_the_next_strategy(shop, git_http, what):
    if what.startswith("a filter"):
        replies, cause = {b"filter ": http_answer(b"")}, "the server's answer is empty"
    else:
        refusal = f"ERR upload-pack: not our ref {shop.source.id('HEAD:a')}\n".encode()
        replies = {f"want {shop.source.id('HEAD:a')}".encode(): http_answer(b"%04x" % (len(refusal) + 4) + refusal)}
        cause = f"the server says: upload-pack: not our ref {shop.source.id('HEAD:a')}"
    with Relay(git_http.port, replies=replies) as relay:
        done = shop.fetched("--path", "a/b/c/d/e", "--path", "other", repo=git_http.url("source/.git", port=relay.port))
    assert f'the server does not support this strategy, trying the next strategy="three directory levels a request" cause="{cause}"' in done.stderr
    assert "trying the fetch again" not in done.stderr
    assert done.strategy == "v2, whole commit"
    assert on_disk(done.directory) == exported(shop.source.path, shop.commit, "a/b/c/d/e", "other")


def test_ssh_walks_by_version_0_where_it_may(shop):
    with Sshd(shop.directory / "sshd", shop.directory) as server:
        done = shop.fetched("--path", "a/b/c", repo=server.url(shop.source.path))
        assert done.strategy == "v0, whole commit"
        shop.source.git("config", "uploadpack.allowAnySHA1InWant", "true")
        done = shop.fetched("--path", "a/b/c", repo=server.url(shop.source.path), into=shop.directory / "again")
        assert done.strategy == "v0, three directory levels a request"
        assert on_disk(done.directory) == exported(shop.source.path, shop.commit, "a/b/c")


def test_a_commit_that_version_0_does_not_give_is_found_in_the_history(shop):
    shop.source.commit({"top": "newer"})
    with Sshd(shop.directory / "sshd", shop.directory) as server:
        done = shop.fetched("--ref", shop.commit, "--path", "top", repo=server.url(shop.source.path))
        assert done.strategy == "v0, whole history"
        assert (done.directory / "top").read_text() == "top\n"


def test_a_repository_of_sha256_is_refused_by_name(workshop, git_http):
    directory = pathlib.Path(tempfile.mkdtemp(dir=workshop.directory / "srv", prefix="sha256-"))
    git(directory, "init", "-q", "--object-format=sha256", "-b", "main", ".")
    git(directory, "commit", "-q", "--allow-empty", "-m", "x")
    assert "SHA-256" in workshop.fetch_failure(repo=git_http.url(f"{directory.name}/.git"))


# --- budgets ---------------------------------------------------------------------------------------------------------

def test_few_requests_and_bytes_are_enough_whatever_the_repository_holds(workshop, git_http):
    moved = {}
    for files in (1_000, 30_000):
        huge_repository.generate(workshop.directory / "srv" / f"{files}.git", files=files)
        done = workshop.fetched("--path", huge_repository.PLUGIN, repo=git_http.url(f"{files}.git"),
                                into=workshop.directory / str(files))
        assert len(on_disk(done.directory)) == huge_repository.PLUGIN_FILES
        assert done.requests == 5
        moved[files] = done.bytes
    assert moved[30_000] < 60_000
    assert moved[30_000] < 2 * moved[1_000]


def test_a_full_id_saves_the_question_for_refs(shop, git_http):
    done = shop.fetched("--ref", shop.commit, "--path", "a/b/c/d/e", repo=git_http.url("source/.git"))
    assert done.requests == len(git_http.requests()) == 5


# --- repositories of this machine ------------------------------------------------------------------------------------

def clone(shop, name, *options):
    git(shop.directory, "clone", "-q", *options, f"file://{shop.source.path}", name)
    return shop.directory / name


def test_a_partial_clone_serves_what_it_has_and_says_what_it_is(shop):
    partial = clone(shop, "partial", "--filter=blob:none", "--no-checkout")
    line = shop.fetch_failure("--path", "a/b", repo=partial)
    assert "is a partial clone that does not hold all of them; check the paths out there by git, or give --repo" in line
    git(partial, "checkout", "-q", "main", "--", "a/b")
    done = shop.fetched("--path", "a/b", repo=partial)
    assert on_disk(done.directory) == exported(shop.source.path, shop.commit, "a/b")


def test_a_sparse_checkout_is_a_repository_like_others(shop):
    sparse = clone(shop, "sparse", "--sparse", "--filter=blob:none")
    git(sparse, "sparse-checkout", "set", "a/b")
    done = shop.fetched("--path", "a/b", repo=sparse)
    assert on_disk(done.directory) == exported(shop.source.path, shop.commit, "a/b")
    assert "uncommitted" not in done.stderr


def test_a_builder_in_a_sparse_checkout_takes_it(shop):
    sparse = clone(shop, "sparse", "--sparse", "--filter=blob:none")
    git(sparse, "sparse-checkout", "set", "a")
    shutil.copy(BUILDER, sparse / "builder")
    done = subprocess.run([sparse / "builder", "fetch", "--path", "a/b", "--into", shop.directory / "out"], env=shop.environment,
                          capture_output=True, text=True)
    assert done.returncode == 0 and f"repository={sparse} " in done.stderr, done.stderr


@pytest.mark.parametrize("extension, words", [
    ("objectFormat=sha256", "its ids are SHA-256, which libgit2 cannot read: give a repository with SHA-1 ids"),
    ("refStorage=reftable", "run `git refs migrate --ref-format=files` there"), ("unheardOf=1", "give a clone of it, or its URL")])
def test_extensions_that_libgit2_cannot_read_have_a_next_step(shop, extension, words):
    config = shop.source.path / ".git" / "config"
    config.write_text(config.read_text() + "[core]\nrepositoryformatversion = 1\n[extensions]\n" + extension + "\n")
    assert words in shop.fetch_failure(repo=shop.source.path)


@pytest.mark.parametrize("extension", ["relativeWorktrees=true", "partialClone=origin", "preciousObjects=true"])
def test_extensions_that_change_nothing_for_a_reader_are_no_obstacle(shop, extension):
    config = shop.source.path / ".git" / "config"
    config.write_text(config.read_text() + "[core]\nrepositoryformatversion = 1\n[extensions]\n" + extension + "\n")
    shop.fetched("--path", "a", repo=shop.source.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to run as another user")
@pytest.mark.parametrize("part", ["", ".git", ".git/HEAD", ".git/objects", ".git/config"])
def test_an_unreadable_repository_is_named_as_such(shop, part):
    os.chmod(shop.directory, 0o755)
    os.chmod(shop.source.path / part, 0)
    done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", BUILDER, "fetch", "--repo", shop.source.path, "--into",
                           "/tmp/never-made"], env=shop.environment, capture_output=True, text=True)
    os.chmod(shop.source.path / part, 0o755)
    assert done.returncode == 1
    assert f"Permission denied" in done.stderr and "give this user the right to read it" in done.stderr, done.stderr


def test_the_id_of_a_tag_object_leads_to_its_commit_here_too(shop, place):
    shop.source.git("tag", "-a", "-m", "one", "one")
    done = shop.fetched("--path", "a/b", "--ref", shop.source.id("one"), repo=place)
    assert shop.commit in done.stdout


def test_an_id_of_a_tree_is_refused_with_what_to_give(shop):
    line = shop.fetch_failure("--ref", shop.source.id("HEAD^{tree}"), repo=shop.source.path)
    assert "it is a tree and leads to no commit; give a branch" in line


def test_uncommitted_changes_are_warned_of(shop):
    assert "uncommitted" not in shop.fetched("--path", "a", repo=shop.source.path).stderr
    shutil.rmtree(shop.directory / "fetched")
    (shop.source.path / "other" / "new").write_text("x")
    assert "uncommitted" not in shop.fetched("--path", "a", repo=shop.source.path).stderr
    shutil.rmtree(shop.directory / "fetched")
    (shop.source.path / "a" / "b" / "x").write_text("changed")
    done = shop.fetched("--path", "a", repo=shop.source.path)
    assert f"uncommitted changes are left out repository={shop.source.path} files=1 first=a/b/x" in done.stderr
    shutil.rmtree(shop.directory / "fetched")
    assert "uncommitted" in shop.fetched("--path", "a", "--ref", "main", repo=shop.source.path).stderr
    shutil.rmtree(shop.directory / "fetched")
    shop.source.git("branch", "other")
    assert "uncommitted" not in shop.fetched("--path", "a", "--ref", "other", repo=shop.source.path).stderr


def test_a_deleted_file_is_an_uncommitted_change(shop):
    (shop.source.path / "a" / "b" / "x").unlink()
    done = shop.fetched("--path", "a", repo=shop.source.path)
    assert f"uncommitted changes are left out repository={shop.source.path} files=1 first=a/b/x" in done.stderr


@pytest.mark.parametrize("name", ["HEAD", "HEAD^{tree}", "HEAD:a", "HEAD:a/b/x"])
@pytest.mark.parametrize("damage", ["gone", "empty", "changed"])
def test_a_damaged_repository_is_named_as_such(shop, name, damage):
    id = shop.source.id(name)
    file = shop.source.path / ".git" / "objects" / id[:2] / id[2:]
    file.chmod(0o644)
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "empty" else b"\0" + file.read_bytes()[1:])
    line = shop.fetch_failure("--path", "a", repo=shop.source.path)
    assert "; check " in line and line.endswith("by `git fsck`, run by the builder's user")


def test_a_head_that_is_no_ref_is_named_as_damage(shop):
    (shop.source.path / ".git" / "HEAD").write_text("nothing of the kind\n")
    assert shop.fetch_failure(repo=shop.source.path).endswith("by `git fsck`, run by the builder's user")


def test_refs_that_a_clone_does_not_have_are_answered_with_what_it_has(shop):
    shop.source.git("branch", "feature")
    shop.source.commit({"top": "2"})
    shallow = clone(shop, "shallow", "--depth", "1", "--no-single-branch")
    line = shop.fetch_failure("--ref", "feature", repo=shallow)
    assert "only a remote has it: give --ref refs/remotes/origin/feature" in line
    line = shop.fetch_failure("--ref", "0123456789" * 4, repo=shallow)
    assert "the repository is shallow: run `git fetch --unshallow` there, or give its URL" in line
    git(shallow, "symbolic-ref", "HEAD", "refs/heads/unborn")
    line = shop.fetch_failure(repo=shallow)
    assert "has no commit on refs/heads/unborn; give --ref, for example refs/heads/main" in line


def test_the_current_directory_is_not_replaced(shop):
    current = shop.directory / "current"
    current.mkdir()
    for into in (".", "", "../current/"):
        done = subprocess.run([BUILDER, "fetch", "--repo", shop.source.path, "--into", into], cwd=current, env=shop.environment,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and done.stderr.startswith("builder: --into: "), done.stderr


def test_a_mount_point_is_refused_before_anything_is_fetched(shop):
    into = shop.directory / "mounted"
    into.mkdir()
    command = f'mount -t tmpfs tmpfs {into} || exit 77; exec {BUILDER} fetch --repo {shop.source.path} --into {into}'
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], text=True, capture_output=True, timeout=60, env=shop.environment)
    if "builder" not in done.stderr:
        pytest.skip("no mounts here")
    assert done.returncode == 1
    assert done.stderr == f"builder: cannot make {into}: it is a mount point; give a directory below it by --into\n"


# --- git's configuration ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("configuration", ['[url "http://127.0.0.1:1/"]\n insteadOf = http://127\n insteadOf = git://127\n insteadOf = ssh://',
                                           "[broken"])
def test_the_user_s_git_configuration_is_ignored(shop, place, configuration):
    (shop.directory / ".gitconfig").write_text(configuration)
    shop.fetched("--path", "top", repo=place)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to run as another user")
def test_a_home_that_cannot_be_read_ends_no_fetch(shop, git_http):
    home = shop.directory / "closed"
    home.mkdir(mode=0)
    (shop.directory / "out").mkdir(mode=0o777)
    os.chmod(shop.directory, 0o755)
    os.chmod(shop.directory / "out", 0o777)
    done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", BUILDER, "fetch", "--repo", git_http.url("source/.git"),
                           "--path", "top", "--into", shop.directory / "out" / "x"], env={**shop.environment, "HOME": str(home)},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- servers that offer little ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("hidden", [["ofs-delta"], ["side-band-64k"], ["side-band-64k", "side-band"], ["no-progress"], ["shallow"],
                                    ["multi_ack", "multi_ack_detailed"],
                                    ["ofs-delta", "side-band-64k", "side-band", "no-progress", "shallow", "multi_ack", "multi_ack_detailed"]],
                         ids=" ".join)
def test_a_server_is_asked_for_nothing_that_it_does_not_offer(shop, hidden):
    with GitDaemon(shop.source.path.parent, version=0, hidden=hidden) as server:
        done = shop.fetched("--path", "a/b", repo=server.url("source/.git"))
    assert on_disk(done.directory) == exported(shop.source.path, shop.commit, "a/b")
    assert not [word for word in hidden if word in server.wants[0].split("0000")[0].split()[2:]]


def test_a_server_that_demands_multi_ack_gets_it(shop):
    with GitDaemon(shop.source.path.parent, version=0, demanded="multi_ack") as server:
        shop.fetched("--path", "a/b", repo=server.url("source/.git"))


def test_the_text_of_a_server_that_refuses_is_shown(shop):
    with GitDaemon(shop.source.path.parent, version=0, demanded="a-beer") as server:
        assert "the server says: give a-beer" in shop.fetch_failure(repo=server.url("source/.git"))
