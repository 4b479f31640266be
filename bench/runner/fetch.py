"""fetch: one directory of a huge repository, by `builder fetch` and by git's own sparse clone, from the same server."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

from runner import figures
from runner.distance import Distance
from runner.programs import short_directory

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))

from support import huge_repository  # noqa: E402
from support.git_servers import GitHttp, listening_socket  # noqa: E402
from support.relay import Relay  # noqa: E402

ROUNDS = 9
FILES = 30_000
SIZES = (1_000, 10_000, FILES, 100_000)
ROUND_TRIP_MS = 40
DIRECTORY = huge_repository.PLUGIN


def _ours(programs, url, into):
    return [[programs.builder, "fetch", "--repo", url, "--path", DIRECTORY, "--into", into, "--log-level", "error"]]


def _git(_programs, url, into):
    return [["git", "clone", "-q", "--filter=blob:none", "--no-checkout", "--depth", "1", "--sparse", url, into],
            ["git", "-C", into, "sparse-checkout", "set", DIRECTORY], ["git", "-C", into, "checkout", "-q"]]


CLIENTS = {"builder fetch": _ours, "git sparse clone": _git}


def _fetch(client, programs, url, directory, started=lambda command: command):
    """Returns the time in ms and requires that the files are there. `started` changes a command before it starts."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "HOME": directory}
    with short_directory() as into:
        begin = time.monotonic()
        for command in CLIENTS[client](programs, url, f"{into}/x"):
            subprocess.run(started(command), check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        took = (time.monotonic() - begin) * 1000
        files = sum(1 for file in pathlib.Path(into, "x", DIRECTORY).rglob("*") if file.is_file())
        if files != huge_repository.PLUGIN_FILES:
            raise RuntimeError(f"{client} brought {files} files")
    return took


@contextlib.contextmanager
def _server(programs, files):
    with short_directory() as directory:
        root = pathlib.Path(directory, "srv")
        huge_repository.generate(root / "huge.git", files=files, realistic=True)
        with GitHttp(root) as server:
            for client in CLIENTS:
                _fetch(client, programs, server.url("huge.git"), directory)  # warms the page cache
            yield server, directory


def _moved(client, programs, server, directory):
    before = len(server.requests())
    with Relay(server.port) as relay:
        _fetch(client, programs, server.url("huge.git", port=relay.port), directory)
        return {"bytes": relay.received, "requests": len(server.requests()) - before}


def _pairs(programs, url, directory, rounds, round_trip, started):
    for number in range(rounds):
        for client in list(CLIENTS)[::1 if number % 2 else -1]:
            yield {"round_trip_ms": round_trip, "client": client, "ms": _fetch(client, programs, url, directory, started)}


def _timed(programs, server, directory, rounds):
    runs = list(_pairs(programs, server.url("huge.git"), directory, rounds, 0, lambda command: command))
    try:
        distance = Distance(ROUND_TRIP_MS / 1000)
    except OSError as error:
        print(f"bench/run: no fetch from afar is measured: {error}", file=sys.stderr)
        return runs
    with distance, Relay(server.port, listener=listening_socket(distance.address)) as relay:
        url = f"http://{distance.address}:{relay.port}/huge.git"
        return runs + list(_pairs(programs, url, directory, rounds, ROUND_TRIP_MS, distance.command))


def measure(programs, quick, rounds):
    sizes, times = [], []
    for files in SIZES[:1] if quick else SIZES:
        with _server(programs, files) as (server, directory):
            sizes += [{"files": files, "client": client, **_moved(client, programs, server, directory)} for client in CLIENTS]
            if quick or files == FILES:
                times = _timed(programs, server, directory, rounds)
    return {"sizes": sizes, "times": times}


def _size_rows(raw):
    rows = []
    for files in dict.fromkeys(run["files"] for run in raw["sizes"]):
        ours, theirs = ([run for run in raw["sizes"] if run["files"] == files and run["client"] == client][0] for client in CLIENTS)
        rows.append([f"{files:,}", f"{ours['bytes']:,}", f"{theirs['bytes']:,}", f"*{ours['bytes'] / theirs['bytes']:.3f}*",
                     ours["requests"], theirs["requests"]])
    return rows


def _time_rows(raw):
    rows = []
    for round_trip in dict.fromkeys(run["round_trip_ms"] for run in raw["times"]):
        ours, theirs = ([run["ms"] for run in raw["times"] if run["round_trip_ms"] == round_trip and run["client"] == client] for client in CLIENTS)
        rows.append([f"{round_trip} ms" if round_trip else "loopback", figures.spread(ours), figures.spread(theirs),
                     f"*{figures.ratio(ours, theirs)}*"])
    return rows


def render(raw):
    return (figures.table(["files in the repository", "builder: bytes", "git: bytes", "*ratio*", "builder: requests", "git: requests"],
                          _size_rows(raw)) + "\n\n" +
            figures.table(["round trip", "builder, ms", "git, ms", "*ratio*"], _time_rows(raw)))
