"""A server's bytes cut, damaged or withheld at every phase: one line, no result, nothing temporary left."""
import signal
import subprocess

import pytest
from conftest import BUILDER, names
from support import huge_repository
from support.git_servers import GitDaemon, GitHttp
from support.relay import Relay

POINTS = 12  # spread over the whole transfer


@pytest.fixture
def shop(workshop):
    huge_repository.generate(workshop.directory / "srv" / "some.git", files=600)
    return workshop


@pytest.fixture(params=[GitHttp, GitDaemon])
def server(request, shop):
    with request.param(shop.directory / "srv") as running:
        yield running


def url(server, relay):
    return server.url("some.git").replace(str(server.port), str(relay.port))


def whole(shop, server):
    """Returns the number of bytes that a fetch takes, and its result."""
    with Relay(server.port) as relay:
        done = shop.fetched("--path", huge_repository.PLUGIN, repo=url(server, relay), into=shop.directory / "whole")
        return relay.received, sorted(p.read_bytes() for p in done.directory.rglob("*") if p.is_file())


def test_a_transfer_that_is_cut_anywhere_fails_cleanly(shop, server):
    total, _ = whole(shop, server)
    for point in range(POINTS):
        with Relay(server.port, cut_after=total * point // POINTS) as relay:
            line = shop.fetch_failure("--path", huge_repository.PLUGIN, repo=url(server, relay))
            assert line.startswith("builder: cannot "), line


def test_a_byte_that_is_flipped_never_changes_a_file(shop, server):
    total, content = whole(shop, server)
    refused = 0
    for point in range(POINTS):
        into = shop.directory / f"flip{point}"
        with Relay(server.port, flip_at=total * point // POINTS + 7) as relay:
            done = shop.fetch("--path", huge_repository.PLUGIN, "--fetch-timeout", "2s", repo=url(server, relay), into=into)
        if done.returncode == 0:  # a byte that means nothing, such as one of a date
            assert sorted(p.read_bytes() for p in into.rglob("*") if p.is_file()) == content
        else:
            refused += 1
            assert not into.exists()
    assert refused >= POINTS // 2


def test_a_server_that_falls_silent_is_given_up(shop, server):
    total, _ = whole(shop, server)
    for part in range(3):
        with Relay(server.port, stall_after=total * part // 3) as relay:
            line = shop.fetch_failure("--path", huge_repository.PLUGIN, "--fetch-timeout", "300ms", repo=url(server, relay))
            assert "said nothing for 300.0 ms" in line


def test_a_cancel_leaves_nothing(shop, server):
    total, _ = whole(shop, server)
    with Relay(server.port, stall_after=total // 2) as relay:
        process = subprocess.Popen(
            [BUILDER, "fetch", "--repo", url(server, relay), "--path", huge_repository.PLUGIN, "--into", shop.directory / "into"],
            env=shop.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert relay.stalled.wait(20)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "builder: ended by SIGTERM; nothing was published"
    assert not [name for name in names(shop.directory) if "into" in name]
