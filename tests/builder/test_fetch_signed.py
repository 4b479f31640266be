"""--allowed-signers: signatures that git makes with real keys, on commits and tags, over every transport."""
import json
import subprocess
import threading

import pytest
from conftest import project
from support.git_servers import GitDaemon, GitHttp
from support.processes import DEADLINE
from support.relay import Relay
from support.sshd import Sshd

KEYS = {"ed25519": ["-t", "ed25519"], "ecdsa-256": ["-t", "ecdsa", "-b", "256"], "ecdsa-384": ["-t", "ecdsa", "-b", "384"],
        "ecdsa-521": ["-t", "ecdsa", "-b", "521"], "rsa": ["-t", "rsa", "-b", "3072"]}


class Key:
    def __init__(self, directory, name, *kind):
        self.file = directory / name
        subprocess.run(["ssh-keygen", "-q", *(kind or KEYS["ed25519"]), "-N", "", "-C", "", "-f", self.file], check=True)
        self.public = self.file.with_suffix(".pub").read_text().strip()
        self.signing = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={self.file}"]

    def fingerprint(self):
        return subprocess.run(["ssh-keygen", "-lf", self.file], check=True, capture_output=True, text=True).stdout.split()[1]


@pytest.fixture
def shop(workshop):
    workshop.source.git("config", "uploadpack.allowFilter", "true")
    workshop.source.commit(project())
    workshop.key = Key(workshop.directory, "mine")
    workshop.signers = workshop.directory / "signers"
    workshop.environment["BUILDER_ALLOWED_SIGNERS"] = str(workshop.signers)
    workshop.environment["BUILDER_PATH"] = "provider"
    allow(workshop, workshop.key)
    return workshop


def allow(shop, key, options="", principals="me@example.org"):
    shop.signers.write_text(f"# who may\n{principals} {options} {key.public}\n")


def signed(shop, key=None, *more):
    """A signed commit; its id."""
    shop.source.git(*(key or shop.key).signing, *more, "commit", "-q", "--allow-empty", "-S", "-m", "signed")
    return shop.source.id("HEAD")


@pytest.mark.parametrize("kind", KEYS)
def test_a_commit_is_taken_by_the_key_that_signed_it(shop, kind):
    key = Key(shop.directory, "other", *KEYS[kind])
    allow(shop, key)
    signed(shop, key)
    done = shop.fetched("-o", "json")
    assert json.loads(done.stdout)["signature"] == {"object": "commit", "principals": "me@example.org", "fingerprint": key.fingerprint()}
    assert f"signed object=commit by=me@example.org key={key.fingerprint()}" in done.stderr


@pytest.mark.parametrize("transport", ["http", "whole", "v0", "git", "ssh"])
def test_a_tag_is_taken_over_every_transport(shop, transport, request):
    """The commit itself is not signed: the tag's signature covers its id."""
    shop.source.git(*shop.key.signing, "tag", "-s", "-m", "signed", "v1")
    shop.source.git(*shop.key.signing, "tag", "-s", "-m", "a tag of a tag", "outer", "v1")
    if transport == "ssh":
        server = Sshd(shop.directory / "sshd", shop.directory)
        repo = server.url(shop.source.path)
    elif transport == "git":
        server, repo = None, request.getfixturevalue("git_daemon").url("source/.git")
    else:
        shop.source.git("config", "uploadpack.allowFilter", str(transport != "whole").lower())
        server = GitHttp(shop.directory / "srv", version=0 if transport == "v0" else 2)
        server.__enter__()
        repo = server.url("source/.git")
    for number, ref in enumerate(("v1", "outer")):
        done = shop.fetched("--ref", ref, "-o", "json", repo=repo, into=shop.directory / str(number))
        assert json.loads(done.stdout)["signature"]["object"] == "tag"
        assert (done.directory / "provider").exists()
    assert "is not signed" in shop.fetch_failure("--ref", "main", repo=repo)
    if server:
        server.__exit__()


def refused(shop, words, *options, repo=None):
    line = shop.fetch_failure(*options, repo=repo)
    assert line.startswith("builder: cannot trust the source: "), line
    assert words in line, line
    assert "; have it signed, with gpg.format=ssh, by a key that --allowed-signers names" in line


def test_what_is_not_signed_is_refused(shop, git_http):
    commit = shop.source.id("HEAD")
    for repo in (shop.source.path, git_http.url("source/.git")):
        refused(shop, f"commit {commit}: it is not signed", repo=repo)
    shop.source.git("tag", "-a", "-m", "plain", "v1")
    refused(shop, f"tag {shop.source.id('v1')}: it is not signed, and commit {commit}: it is not signed", "--ref", "v1")


def test_the_wrong_key_is_refused_by_its_name(shop):
    stranger = Key(shop.directory, "stranger")
    signed(shop, stranger)
    refused(shop, f"key {stranger.fingerprint()} may not sign it: it is not in {shop.signers}")


@pytest.mark.parametrize("what", ["message", "tree", "author"])
def test_a_commit_that_was_changed_after_it_was_signed_is_refused(shop, git_http, what):
    signed(shop)
    raw = shop.source.git("cat-file", "commit", "HEAD")
    changed = {"message": raw + "x", "author": raw.replace("author tester", "author somebody"),
               "tree": raw.replace(shop.source.id("HEAD^{tree}"), "4b825dc642cb6eb9a060e54bf8d69288fbee4904")}[what] + "\n"
    commit = shop.source.git("hash-object", "-w", "-t", "commit", "--stdin", stdin=changed)
    shop.source.git("update-ref", "refs/heads/changed", commit)
    refused(shop, f"commit {commit}: its signature does not match: it was changed after it was signed", "--ref", "changed",
            repo=git_http.url("source/.git"))


def test_a_tag_that_was_moved_to_another_commit_is_refused(shop):
    shop.source.git(*shop.key.signing, "tag", "-s", "-m", "signed", "v1")
    raw = shop.source.git("cat-file", "tag", "v1")
    other = shop.source.commit({"x": "y"})
    moved = raw.replace(raw.splitlines()[0].split()[1], other) + "\n"
    shop.source.git("update-ref", "refs/tags/v1", shop.source.git("hash-object", "-w", "-t", "tag", "--stdin", stdin=moved))
    refused(shop, "its signature does not match", "--ref", "v1")


LIARS = {"http": lambda directory: GitHttp(directory), "git": lambda directory: GitDaemon(directory), "v0": lambda directory: GitHttp(directory, version=0)}


@pytest.mark.parametrize("signed_object", ["tag", "commit"])
@pytest.mark.parametrize("transport", LIARS)
def test_a_server_that_lies_about_where_a_signed_tag_leads_is_refused(shop, transport, signed_object):
    """The tag is authentic, and what it is said to lead to is not what it leads to."""
    good = signed(shop) if signed_object == "commit" else shop.source.id("HEAD")
    shop.source.git(*shop.key.signing, "tag", "-s" if signed_object == "tag" else "-a", "-m", "x", "v1")
    evil = shop.source.commit({"provider/plugin.sh": "evil"})
    shop.source.git("config", "uploadpack.allowAnySHA1InWant", "true")
    marks = (b"%s refs/tags/v1^{}", b"peeled:%s")
    lies = {mark % good.encode(): mark % evil.encode() for mark in marks}
    with LIARS[transport](shop.directory / "srv") as server, Relay(server.port, swaps=lies) as relay:
        line = shop.fetch_failure("--ref", "v1", repo=server.url("source/.git").replace(str(server.port), str(relay.port)))
        assert f"cannot trust the source: {shop.source.id('v1')} does not lead to commit {evil}, whatever the server says" in line
        done = shop.fetched("--ref", "v1", repo=server.url("source/.git"))
        assert f"commit={good}" in done.stderr


def test_an_older_tag_in_the_place_of_another_one_is_refused(shop, git_http):
    """Its signature is good, and for another name."""
    shop.source.git(*shop.key.signing, "tag", "-s", "-m", "old", "v1")
    old = shop.source.id("v1")
    shop.source.git("update-ref", "refs/tags/v2", old)
    shop.source.git("tag", "-a", "-m", "a wrapping that nobody signed", "v3", "v1")
    for repo in (shop.source.path, git_http.url("source/.git")):
        for ref in ("v2", "refs/tags/v3"):
            refused(shop, f"tag {old}: it is signed as tag 'v1', and '{ref[-2:]}' is asked for, and commit ", "--ref", ref, repo=repo)
    assert "signed object=tag" in shop.fetched("--ref", "refs/tags/v1").stderr


def test_a_signature_for_something_else_is_refused(shop):
    """The same key signs a commit's very bytes, but as a file."""
    raw = shop.source.git("cat-file", "commit", "HEAD") + "\n"
    done = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", shop.key.file], input=raw, check=True,
                          capture_output=True, text=True)
    head, _, message = raw.partition("\n\n")
    header = "gpgsig " + done.stdout.strip().replace("\n", "\n ")
    commit = shop.source.git("hash-object", "-w", "-t", "commit", "--stdin", stdin=f"{head}\n{header}\n\n{message}")
    shop.source.git("update-ref", "refs/heads/file", commit)
    refused(shop, "it is signed for 'file' and not for 'git'", "--ref", "file")


@pytest.mark.parametrize("options, words", [
    ('namespaces="file"', "allows it for 'file' and not for 'git'"),
    ('valid-before="20200101"', "allows it until "),
    ('valid-after="20990101"', "allows it from "),
    ("cert-authority", "makes it an authority for certificates, which are not supported"),
])
def test_what_the_file_does_not_allow_is_refused_with_its_line(shop, options, words):
    allow(shop, shop.key, options)
    signed(shop)
    refused(shop, f"line 2 of {shop.signers} ")
    refused(shop, words)


def test_what_the_file_allows_is_taken(shop):
    allow(shop, shop.key, 'namespaces="file,git",valid-after="20200101Z",valid-before="20990101"', '"me,you"')
    signed(shop)
    assert "by=me,you " in shop.fetched().stderr


def test_git_agrees(shop):
    signed(shop)
    shop.source.git("-c", f"gpg.ssh.allowedSignersFile={shop.signers}", "verify-commit", "HEAD")
    shop.fetched()


@pytest.mark.parametrize("text, words", [("", "it allows no signer"), ("me ssh-ed25519 AAAA\n", "cannot read line 1 of "),
                                         ("\nme nonsense=1 ssh-ed25519 AAAA\n", "cannot read line 2 of ")])
def test_a_file_that_cannot_be_read_is_a_usage_error(shop, text, words):
    shop.signers.write_text(text)
    done = shop.fetch()
    assert done.returncode == 2 and words in done.stderr and not done.directory.exists()


def test_builds_demand_it_too(shop):
    options = ["--path", "provider", "--path", "proto"]
    assert shop.failure(*options).startswith("builder: fetch: cannot trust the source: ")
    signed(shop)
    shop.built(*options)
    info = json.loads((shop.output.parent / "build-info.json").read_text())
    assert info["signature"]["fingerprint"] == shop.key.fingerprint()
    again = shop.built(*options)
    assert "Up to date:" in again.out and "signed object=commit" in again.err


NEEDY_CMAKE_LISTS = """cmake_minimum_required(VERSION 3.22)
project(plugin NONE)
add_subdirectory(../common common)
add_custom_target(mock-kms-provider COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/build.sh ${CMAKE_BINARY_DIR}/bin VERBATIM)
"""


class SilentOnce(Sshd):
    """Says nothing on its third connection, which asks for a dependency, and calls `then` before the next one."""

    def __init__(self, directory, home, then):
        self._then, self._number, self._next = then, 0, threading.Event()
        super().__init__(directory, home)

    def handle(self, connection):
        self._number += 1
        if self._number == 3:
            self._next.wait(DEADLINE)
            return
        if self._number == 4:
            self._then()
            self._next.set()
        super().handle(connection)


@pytest.mark.parametrize("moves", [False, True])
def test_a_try_after_an_abandoned_one_keeps_the_signed_commit_and_its_objects(shop, moves):
    def files(version):
        return {**project(version), "provider/CMakeLists.txt": NEEDY_CMAKE_LISTS, "common/CMakeLists.txt": "# nothing\n", "other/x": "x\n"}

    def then():
        if moves:
            shop.source.commit(files("2.0"))
            shop.source.git("config", "uploadpack.allowFilter", "false")

    shop.source.commit(files("1.0"))
    shop.source.git("config", "uploadpack.allowAnySHA1InWant", "true")
    good = signed(shop)
    with SilentOnce(shop.directory / "sshd", shop.directory, then) as server:
        done = shop.built("--fetch-timeout", "5s", "--fetch-retries", "2", repo=server.url(shop.source.path))
    assert "trying the fetch again" in done.err
    assert "echo plugin 1.0" in shop.output.read_text()
    assert json.loads((shop.output.parent / "build-info.json").read_text())["commit"] == good
