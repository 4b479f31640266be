"""Packs that are made to cost more than they weigh: each ends at a limit, quickly and with little memory."""
import itertools
import os
import subprocess

import pytest
from conftest import BUILDER
from support.hostile_git import (BLOB, COMMIT, COPY_64K, TREE, PackServer, RefusingServer, commit_of, delta, delta_of, object_header,
                                 object_id, pack, stored)

MOST_MEMORY = 600 * 1024  # KiB; the longest list of refs takes 256 MiB, once as it comes and once more where it grows
SANITIZED = "ASAN_OPTIONS" in os.environ  # a sanitizer keeps what is freed


def entry(mode, name, id):
    return b"%s %s\0" % (mode, name) + id


ONE_BLOB = object_id(BLOB, b"content")
SMALL_TREE = entry(b"100644", b"x", ONE_BLOB)


def source(*more, tree=SMALL_TREE):
    """A commit of `tree` and `more` objects: the pack, and the commit's id."""
    commit = commit_of(object_id(TREE, tree))
    return [stored(COMMIT, commit), stored(TREE, tree), stored(BLOB, b"content"), *more], object_id(COMMIT, commit)


def attempt(workshop, what, commit, *options, **more):
    """The last line of a fetch that fails, within bounded memory."""
    into = workshop.directory / "into"
    with PackServer(what, commit, **more) as server, open(workshop.directory / "log", "w+") as log:
        process = subprocess.Popen([BUILDER, "fetch", "--repo", server.url(), "--into", into, *options],
                                   env=workshop.environment, stdout=subprocess.DEVNULL, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        text = log.read()
    assert process.returncode == 1, text
    assert not [name for name in os.listdir(workshop.directory) if "into" in name], "something is left"
    assert SANITIZED or usage.ru_maxrss < MOST_MEMORY, f"{usage.ru_maxrss} KiB"
    return text.splitlines()[-1]


def test_the_server_of_these_tests_serves_what_can_be_fetched(workshop):
    objects, commit = source()
    with PackServer(pack(*objects), commit) as server:
        done = workshop.fetched("--path", ".", repo=server.url())
    assert (done.directory / "x").read_text() == "content"


UNPACKED = "unpacks to more than 1000000000 bytes; give narrower --path options, or raise --max-bytes"
BASE = bytes(65536)


def bomb(copies, claimed=None):
    """A delta that makes 64 KiB again and again, from a base in front of it."""
    base = stored(BLOB, BASE)
    return base + delta(len(base), COPY_64K * copies, len(BASE), claimed or copies * 65536)


def chain(length):
    """Each object is the one before it twice, in a few bytes."""
    objects, size = [stored(BLOB, BASE)], len(BASE)
    for _ in range(length):
        objects.append(delta(len(objects[-1]), b"\xf0" + size.to_bytes(3, "little") if size < 1 << 24 else COPY_64K, size, size * 2))
        size *= 2
    return objects


def long_chain(length):
    objects = [stored(BLOB, BASE)]
    for _ in range(length):
        objects.append(delta(len(objects[-1]), COPY_64K, len(BASE), len(BASE)))
    return objects


def chain_by_ids(length):
    """Each object is the one before it and a byte more."""
    content = b"base"
    objects = [stored(BLOB, content)]
    for number in range(length):
        byte = b"%c" % (number % 255 + 1)
        objects.append(delta_of(object_id(BLOB, content), b"\x90" + bytes([len(content)]) + b"\1" + byte if len(content) < 256 else
                                b"\xb0" + len(content).to_bytes(2, "little") + b"\1" + byte, len(content), len(content) + 1))
        content += byte
    return objects


def mixed_chains(ids, offsets):
    """Deltas by ids and a chain by offsets, which could stand on one another."""
    return chain_by_ids(ids) + long_chain(offsets)


@pytest.mark.parametrize("objects, words", [
    ([object_header(BLOB, 1 << 55)], UNPACKED),
    ([stored(BLOB, b"x" * 10_000_000, size=10)], "holds an object that is larger than it says"),
    ([stored(BLOB, b"x", size=100)], "holds an object that is smaller than it says"),
    ([stored(BLOB, b"%d" % i + bytes(250_000_000)) for i in range(5)], UNPACKED),
    ([bomb(20_000)], UNPACKED),
    ([bomb(1, claimed=1 << 50)], UNPACKED),
    (chain(20), UNPACKED),
    (long_chain(5_000), "holds a chain of more than 4096 deltas"),
    (chain_by_ids(5_000), "holds a chain of more than 4096 deltas"),
    (mixed_chains(100, 100), "holds a chain of more than 4096 deltas"),
    ([b"\xff" * 12], "impossible size"),
    ([object_header(BLOB, 5) + b"not zlib"], "is damaged"),
    ([delta(10_000_000, COPY_64K, 1, 1)], "holds a delta without its base"),
], ids=["a size of petabytes", "larger than it says", "smaller than it says", "zeros", "delta bomb", "delta's claim", "doubling chain",
        "long chain", "long chain by ids", "mixed chains", "endless size", "no zlib", "no base"])
def test_objects_that_are_not_what_they_say(workshop, objects, words):
    first, commit = source()
    # The pack counts objects. A bomb here is two objects in one entry.
    count = len(first) + sum(2 if one.startswith(stored(BLOB, BASE)) and len(one) > len(stored(BLOB, BASE)) else 1 for one in objects)
    line = attempt(workshop, pack(*first, *objects, count=count), commit, "--path", "x")
    assert words in line and line.startswith("builder: cannot fetch from git://"), line


def test_a_pack_that_announces_billions_of_objects(workshop):
    objects, commit = source()
    assert "has 4294967295 objects; the maximum is 8000000" in attempt(workshop, pack(*objects, count=2**32 - 1), commit)


def test_a_pack_without_end(workshop):
    _, commit = source()
    blob = os.urandom(100_000)

    def endless():
        yield pack(count=1_000_000)[:12]
        for number in itertools.count():
            yield stored(BLOB, blob + b"%d" % number, level=0)

    line = attempt(workshop, endless, commit, "--max-bytes", "50000000")
    assert "50000000 bytes; give narrower --path options, or raise --max-bytes" in line


def test_a_directory_of_a_million_files(workshop):
    tree = b"".join(entry(b"100644", b"%07d" % i, ONE_BLOB) for i in range(1_000_000))
    objects, commit = source(tree=entry(b"40000", b"d", object_id(TREE, tree)))
    what = pack(*objects, stored(TREE, tree))
    assert "there are more than 200000 files and directories" in attempt(workshop, what, commit, "--path", "d")
    assert "cannot find 'e' in" in attempt(workshop, what, commit, "--path", "e")


def test_a_million_entries_that_hide_in_six_directories(workshop):
    trees, id = [], ONE_BLOB
    for level in range(6):
        tree = b"".join(entry(b"40000" if level else b"100644", b"%d" % i, id) for i in range(10))
        trees.append(stored(TREE, tree))
        id = object_id(TREE, tree)
    objects, commit = source(*trees, tree=entry(b"40000", b"d", id))
    assert "there are more than 200000 files and directories" in attempt(workshop, pack(*objects), commit, "--path", "d")


def test_paths_that_are_all_as_long_as_they_may_be(workshop):
    """Fifteen directories of 250 bytes in each other, a directory of many files at the end, and all that again and again."""
    files = b"".join(entry(b"100644", b"%05d" % i, ONE_BLOB) for i in range(10_000))
    trees, id = [stored(TREE, files)], object_id(TREE, files)
    for _ in range(15):
        tree = entry(b"40000", b"d" * 250, id)
        trees.append(stored(TREE, tree))
        id = object_id(TREE, tree)
    top = b"".join(entry(b"40000", b"%02d" % i, id) for i in range(19))
    objects, commit = source(*trees, stored(TREE, top), tree=entry(b"40000", b"d", object_id(TREE, top)))
    line = attempt(workshop, pack(*objects), commit, "--path", "d")
    assert "all paths together are longer than 200000 times 320 bytes; give narrower --path options, or raise --max-files" in line


def test_a_chain_of_deltas_by_ids_that_is_short_enough_is_taken(workshop):
    objects, commit = source(*chain_by_ids(200))
    with PackServer(pack(*objects), commit) as server:
        done = workshop.fetched("--path", ".", repo=server.url())
    assert (done.directory / "x").read_text() == "content"


def test_directories_a_hundred_thousand_levels_deep(workshop):
    trees, id = [], object_id(TREE, SMALL_TREE)
    for _ in range(100_000):
        tree = entry(b"40000", b"d", id)
        trees.append(stored(TREE, tree))
        id = object_id(TREE, tree)
    objects, commit = source(*trees, stored(TREE, SMALL_TREE), tree=entry(b"40000", b"d", id))
    assert "its path is too long" in attempt(workshop, pack(*objects), commit, "--path", "d")


def test_a_list_of_refs_without_end(workshop):
    _, commit = source()
    assert "the server's list of refs does not end" in attempt(workshop, b"", commit, endless_greeting=True)


def test_a_servers_words_cannot_reach_the_terminal_as_they_are(workshop):
    with RefusingServer(b"go\x1b[2J \xff\ragain") as server:
        line = workshop.fetch_failure(repo=server.url())
    assert "the server says: go?[2J \ufffd?again" in line
