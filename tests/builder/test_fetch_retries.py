"""Failures that may pass are tried again, keeping what was fetched; all others end at once."""
import signal
import subprocess
import time

import pytest
from conftest import BUILDER, names
from support import huge_repository
from support.git_servers import GitDaemon, GitHttp, RefusedPort, SilentServer, git
from support.relay import Relay
from support.sshd import Sshd
from support.tls import Authority

POINTS = 6  # spread over the whole transfer
AGAIN = "trying the fetch again"


@pytest.fixture
def shop(workshop):
    workshop.repository = huge_repository.generate(workshop.directory / "srv" / "some.git", files=600)
    workshop.environment["BUILDER_PATH"] = huge_repository.PLUGIN
    workshop.environment["BUILDER_FETCH_RETRIES"] = "3"
    return workshop


@pytest.fixture
def http(shop):
    with GitHttp(shop.directory / "srv") as server:
        yield server


@pytest.fixture(params=["http", "https", "git", "ssh"])
def served(request, shop):
    """The server's port, and its URL at another port."""
    if request.param == "https":
        tls = Authority(shop.directory / "tls")
        shop.environment["BUILDER_CA_FILE"] = str(tls.ca)
        with GitHttp(shop.directory / "srv", tls=tls.certificate("localhost")) as server:
            yield server.port, lambda port: server.url("some.git", host="localhost", port=port)
        return
    if request.param == "ssh":
        with Sshd(shop.directory / "sshd", shop.directory) as server:
            known = shop.directory / ".ssh" / "known_hosts"
            keys = known.read_text().split(" ", 1)[1]

            def url(port):
                known.write_text(f"[127.0.0.1]:{port} {keys}")
                return server.url(shop.repository).replace(str(server.port), str(port))

            yield server.port, url
    else:
        with {"http": GitHttp, "git": GitDaemon}[request.param](shop.directory / "srv") as server:
            yield server.port, lambda port: server.url("some.git").replace(str(server.port), str(port))


def content(done):
    return sorted(file.read_bytes() for file in done.directory.rglob("*") if file.is_file())


# --- what passes -----------------------------------------------------------------------------------------------------

def test_a_transfer_that_is_cut_once_anywhere_is_completed_without_fetching_twice_what_is_there(shop, served):
    port, url = served
    with Relay(port) as relay:
        whole = shop.fetched(repo=url(relay.port), into=shop.directory / "whole")
        total = relay.received
    longest = 0
    for point in range(POINTS):
        with Relay(port, cut_after=total * point // POINTS, recovers=True) as relay:
            done = shop.fetched(repo=url(relay.port), into=shop.directory / f"into{point}")
            assert content(done) == content(whole)
            assert done.stderr.count(AGAIN) <= 1  # none where a kept connection is cut before its answer begins
            assert done.requests <= whole.requests + 2, "an advertisement and the request that was cut are all that is repeated"
            longest = max(longest, relay.received)
    if not url(port).startswith("ssh"):  # there all comes in one answer
        assert longest < 1.85 * total, "the largest answer is a part of the whole"


def test_a_server_that_falls_silent_once_is_asked_again(shop, served):
    port, url = served
    with Relay(port) as relay:
        total = shop.fetched(repo=url(relay.port), into=shop.directory / "whole") and relay.received
    with Relay(port, stall_after=total // 2, recovers=True) as relay:
        done = shop.fetched("--fetch-timeout", "6s", repo=url(relay.port))  # what a busy machine needs is less
        assert relay.stalled.is_set()
    assert done.stderr.count(AGAIN) == 1 and "said nothing for 6.0 s" in done.stderr
    assert len(content(done)) == huge_repository.PLUGIN_FILES


def test_a_name_that_holds_the_word_of_a_final_failure_changes_nothing(shop, http):
    shop.repository.rename(shop.directory / "srv" / "certificate-manager.git")
    with Relay(http.port, cut_after=100, recovers=True) as relay:
        done = shop.fetched(repo=http.url("certificate-manager.git", port=relay.port))
    assert done.stderr.count(AGAIN) == 1


def start(shop, repo, *options):
    return subprocess.Popen([BUILDER, "fetch", "--repo", repo, "--into", shop.directory / "into", *options], cwd=shop.directory,
                            env=shop.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def read_until(process, words):
    return next(line for line in process.stderr if words in line)


def test_a_server_that_starts_later_is_found(shop, served):
    port, url = served
    with RefusedPort() as refused:
        process = start(shop, url(refused.port))
        assert "Connection refused" in read_until(process, AGAIN)
        with Relay(port, listener=refused.take()):
            _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert (shop.directory / "into" / huge_repository.PLUGIN).exists()


def answer(status):
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "503 Busy", "504 Slow", "429 Slow Down", "408 Late"])
def test_a_server_in_trouble_is_asked_again(shop, http, status):
    with Relay(http.port, answers=[answer(status)]) as relay:
        done = shop.fetched(repo=http.url("some.git", port=relay.port))
    assert done.stderr.count(AGAIN) == 1 and f"status code: {status[:3]}" in done.stderr


def test_the_waits_grow(shop, http):
    with Relay(http.port, answers=[answer("503 Busy")] * 3) as relay:
        done = shop.fetched("--fetch-retries", "3", repo=http.url("some.git", port=relay.port))
    waits = [float(line.split('wait="')[1].split()[0]) * (1 if ' s"' in line else 1e-3)
             for line in done.stderr.splitlines() if AGAIN in line]
    for number, wait in enumerate(waits):
        assert 0.25 * 2**number <= wait + 0.05 and wait <= 0.5 * 2**number + 0.05
    assert len(waits) == 3


# --- what does not ---------------------------------------------------------------------------------------------------

def test_a_host_that_is_never_found_is_looked_up_each_time(shop):
    done = shop.fetch("--fetch-retries", "2", repo="http://no-such-host.invalid/x.git")
    assert done.returncode == 1 and done.stderr.count(AGAIN) == 2
    assert "Could not resolve host" in done.stderr.splitlines()[-1]
    assert "(tried 3 times); check the host's name" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("options, place, words", [
    ([], "nothing.git", "404"), (["--ref", "none"], "some.git", "cannot find ref 'none'"),
    (["--ref", "1" * 40], "some.git", "cannot find commit 1111"), (["--path", "none"], "some.git", "cannot find 'none'"),
    (["--commit", "1" * 40], "some.git", "demands 1111"), (["--max-bytes", "3000"], "some.git", "more than 3000 bytes")])
def test_what_cannot_pass_ends_at_once(shop, http, options, place, words):
    done = shop.fetch(*options, repo=http.url(place))
    assert done.returncode == 1 and AGAIN not in done.stderr
    assert words in done.stderr.splitlines()[-1] and "tried" not in done.stderr.splitlines()[-1]
    advertisements = [line for line in http.requests() if "/info/refs" in line]
    assert len(advertisements) <= 2  # a refusal may lead to another strategy


@pytest.mark.parametrize("login", ["", "me:wrong"])
def test_a_login_that_is_refused_is_not_offered_again(shop, login):
    with GitHttp(shop.directory / "srv", users={"me": "right"}) as server:
        done = shop.fetch(repo=server.url("some.git", login))
        assert done.returncode == 1 and AGAIN not in done.stderr
        assert len(server.requests()) <= 3  # without a password, with the URL's, and as libgit2 asks for it


def test_forbidden_is_final(shop):
    with GitHttp(shop.directory / "srv", lines="location /shut { return 403; }") as server:
        done = shop.fetch(repo=server.url("shut"))
        assert "status code: 403; ask for read access" in done.stderr.splitlines()[-1]
        assert len(server.requests()) == 1


# --- time-outs and deadlines ---------------------------------------------------------------------------------------------

def test_the_deadline_holds_for_all_tries_together(shop):
    with RefusedPort() as refused:
        done = shop.fetch("--fetch-retries", "1000", "--fetch-deadline", "1s", repo=f"http://127.0.0.1:{refused.port}/x.git")
    assert done.returncode == 1 and 1 <= done.stderr.count(AGAIN) <= 3
    assert "Connection refused (tried " in done.stderr.splitlines()[-1]


def test_the_deadline_ends_a_transfer_that_is_under_way(shop):
    with SilentServer() as server:
        done = shop.fetch("--fetch-deadline", "300ms", repo=server.url())
    assert done.stderr.splitlines()[-1].endswith(
        "it is not complete after 300.0 ms; check the server and the network, or raise --fetch-deadline")
    assert AGAIN not in done.stderr


def test_a_signal_ends_the_waiting(shop):
    with RefusedPort() as refused:
        process = start(shop, f"http://127.0.0.1:{refused.port}/x.git", "--fetch-retries", "1000")
        for _ in range(3):
            read_until(process, AGAIN)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "builder: ended by SIGTERM; nothing was published"
    assert not [name for name in names(shop.directory) if "into" in name]


def test_options_come_from_the_environment(shop):
    with RefusedPort() as refused:
        done = shop.fetch(repo=f"http://127.0.0.1:{refused.port}/x.git",
                          environment={"BUILDER_FETCH_RETRIES": "1", "BUILDER_FETCH_DEADLINE": "1m"})
    assert "(tried 2 times)" in done.stderr.splitlines()[-1]


def test_a_moved_branch_does_not_mix_two_commits(shop, http):
    """The ref is resolved once, though the connection is lost later on."""
    before = git(shop.repository, "rev-parse", "main")
    with Relay(http.port) as relay:
        total = shop.fetched(repo=http.url("some.git", port=relay.port)) and relay.received
    with Relay(http.port, cut_after=total - 100, recovers=True) as relay:
        process = start(shop, http.url("some.git", port=relay.port))
        read_until(process, AGAIN)
        moved = git(shop.repository, "commit-tree", "-m", "moved", "main^{tree}")
        git(shop.repository, "update-ref", "refs/heads/main", moved)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"commit={before}" in err


# --- waits that a server asks for ------------------------------------------------------------------------------------

def overloaded(status, header):
    return f"HTTP/1.1 {status}\r\nRetry-After: {header}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize("status", ["429 Slow Down", "503 Busy"])
def test_the_wait_that_a_server_asks_for_is_kept(shop, http, status):
    with Relay(http.port, answers=[overloaded(status, 3)]) as relay:
        begin = time.monotonic()
        done = shop.fetched(repo=http.url("some.git", port=relay.port))
    assert 'wait="3.0 s"' in done.stderr and time.monotonic() - begin >= 3


def test_a_wait_beyond_the_deadline_ends_the_fetch_at_once(shop, http):
    with Relay(http.port, answers=[overloaded("429 Slow Down", 1000)]) as relay:
        line = shop.fetch_failure("--fetch-deadline", "30s", repo=http.url("some.git", port=relay.port))
    assert "the server asks to wait" in line


@pytest.mark.parametrize("wait", ["86400000", "9223372036854775807", "99999999999999999999"])
def test_a_wait_of_any_length_is_understood(shop, http, wait):
    with Relay(http.port, answers=[overloaded("503 Busy", wait)] * 9) as relay:
        line = shop.fetch_failure("--fetch-retries", "5", repo=http.url("some.git", port=relay.port))
        assert relay.connections == 1
    assert "the server asks to wait 1d" in line
