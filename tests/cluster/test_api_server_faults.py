"""What kube-apiserver makes of each fault preset, and of answers that break the contract: /readyz, writes, reads, and its own new start.

docs/kms-v2-rules.md has the table. KMS_CLUSTER_FIGURES=FILE keeps what was seen.
"""

import concurrent.futures
import signal
import time

import pytest

from support import processes
from support.control_plane import IDENTITY, ControlPlane, kms, until
from support.lone_provider import LoneProvider
from support.processes import binary
from support.supervised import Supervised

LEASE = 180  # seconds
OK, FAILS, AT_TIMES = "ok", "fails", "at times"


class RestartedProvider(LoneProvider):
    """A provider that a supervisor starts again."""

    def start(self):
        command = [binary("mock-kms-provider"), f"--listen-addr={self.endpoint}", *self.options]
        home = self.plane.directory / f"{self.name}-supervisor"
        home.mkdir(exist_ok=True)
        self.supervised = Supervised(home, command=command, socket_uri=self.endpoint)
        self.supervised.wait = "55s"
        self.supervised.healthy()

    def kill(self):
        self.supervised.__exit__(None, None, None)


def preset(name, *options):
    return [("fault", "add", name, *options)]


ROTATE = ("rotate",)

# name: (commands, /readyz, writes, writes after the lease, reads after a new start of the API server, writes after it)
UNDER_LONE = {
    "none": ([], OK, OK, OK, OK, OK),
    "rotated": ([ROTATE], OK, OK, OK, OK, OK),
    "key-disabled": (preset("key-disabled"), FAILS, OK, FAILS, FAILS, FAILS),
    "kubernetes-mock-failed": (preset("kubernetes-mock-failed"), FAILS, OK, FAILS, FAILS, FAILS),
    "credentials-expired": (preset("credentials-expired"), FAILS, OK, FAILS, FAILS, FAILS),
    "unavailable": (preset("unavailable"), FAILS, OK, FAILS, FAILS, FAILS),
    "network-partition": (preset("network-partition"), FAILS, OK, FAILS, FAILS, FAILS),
    "key-deleted": (preset("key-deleted"), OK, OK, OK, FAILS, FAILS),
    "permission-denied": (preset("permission-denied"), OK, OK, OK, FAILS, FAILS),
    "encrypt-broken": (preset("encrypt-broken"), OK, OK, OK, FAILS, FAILS),
    "decrypt-broken": (preset("decrypt-broken"), OK, OK, OK, FAILS, OK),
    "wrong-key": (preset("wrong-key"), OK, OK, OK, FAILS, OK),
    "unhealthy": (preset("unhealthy"), FAILS, OK, OK, OK, OK),
    "old-version": (preset("old-version"), FAILS, OK, OK, OK, OK),
    "throttled": (preset("throttled"), None, OK, None, None, None),
    "flaky": (preset("flaky"), None, OK, None, None, None),
    "slow": (preset("slow"), None, OK, None, None, None),
    "long-tail": (preset("long-tail"), None, OK, None, None, None),
    "memory-leak": (preset("memory-leak"), OK, OK, OK, OK, OK),
    "key-id-empty": (preset("key-id-empty"), FAILS, OK, FAILS, FAILS, FAILS),
    "key-id-long": (preset("key-id-long"), FAILS, OK, FAILS, FAILS, FAILS),
    "key-id-disagrees": ([*preset("key-id-disagrees"), ROTATE], FAILS, OK, FAILS, FAILS, FAILS),
    "rotated-encrypt-broken": ([*preset("encrypt-broken"), ROTATE], FAILS, OK, FAILS, FAILS, FAILS),
    "rotated-ciphertext-oversize": ([*preset("ciphertext-oversize"), ROTATE], FAILS, OK, FAILS, FAILS, FAILS),
    "rotated-annotations-bad": ([*preset("annotations-bad"), ROTATE], FAILS, OK, FAILS, FAILS, FAILS),
    "plaintext-wrong": (preset("plaintext-wrong"), OK, OK, OK, FAILS, OK),
    "down-at-start": ([], OK, OK, OK, FAILS, FAILS),
}
UNDER_SUPERVISOR = {name: (preset(name), None, OK, OK, OK, OK) for name in ("crash-loop", "out-of-memory", "frozen")}
CASES = {**UNDER_LONE, **UNDER_SUPERVISOR}
COLUMNS = ["readyz", "writes", "writes after the lease", "reads after a new start", "writes after a new start"]


def summary(results):
    return OK if all(results) else AT_TIMES if any(results) else FAILS


class Bench:
    """The providers, one API server, and what it did."""

    def __init__(self, plane):
        self.plane = plane
        made = [(name, LoneProvider if name in UNDER_LONE else RestartedProvider) for name in CASES]
        self.all = {name: kind(plane, number, name) for number, (name, kind) in enumerate(made)}
        self.seen = {name: {} for name in CASES}

    def start(self):
        self.plane.configure(*[([one.resource], [kms(name, one.endpoint), IDENTITY]) for name, one in self.all.items()])
        self.plane.api.start()
        for one in self.all.values():
            self.plane.define(one.resource)
        for one in self.all.values():
            self.plane.wait_defined(one.resource)
            assert self.plane.create("old", resource=one.resource).ok

    def each(self, call):
        """{name: result of call(provider)}, at the same time: a failing one may block for long."""
        with concurrent.futures.ThreadPoolExecutor(len(self.all)) as pool:
            return dict(zip(self.all, pool.map(call, self.all.values())))

    def note(self, column, results):
        for name, result in results.items():
            self.seen[name][column] = result

    def readyz(self):
        """A good check is kept for 20 s and a bad one for 3 s, so that of `flaky` may show a while later."""
        rounds = []
        for _ in range(4):
            failures = self.plane.api.kms_failures()
            rounds.append({name: one.number not in failures for name, one in self.all.items()})
            for name, one in self.all.items():
                self.seen[name].setdefault("text", failures.get(one.number))
            time.sleep(4)
        return {name: summary([seen[name] for seen in rounds]) for name in self.all}

    def writes(self):
        return self.each(lambda one: summary([one.write().ok for _ in range(3)]))

    def reads(self):
        return self.each(lambda one: summary([self.plane.read("old", one.resource, timeout=30) == "a secret" for _ in range(3)]))

    def read(self, name):
        return self.plane.read("old", self.all[name].resource, timeout=30) == "a secret"

    def recovers(self):
        """Seconds from the end of all faults until every object can be read and written again."""
        begin = time.monotonic()

        def recovered(one):
            if one.name == "plaintext-wrong":
                return None  # the API server keeps the wrong seed for 24 h
            until(lambda: self.plane.read("old", one.resource, timeout=30) == "a secret" and one.write().ok, 300, one.name, pause=1)
            return round(time.monotonic() - begin, 1)

        return self.each(recovered)

    def close(self):
        for one in self.all.values():
            one.kill()


@pytest.fixture(scope="module")
def seen(measured):
    directory = processes.short_directory()
    plane = ControlPlane(directory)
    bench = Bench(plane)
    try:
        bench.start()
        begin = time.monotonic()
        for name, one in bench.all.items():
            for command in CASES[name][0]:
                one.provider(*command)
        until(lambda: time.monotonic() - begin > 65, 70, "the next Status poll", pause=1)  # it finds the rotations
        bench.note("readyz", bench.readyz())
        bench.note("writes", bench.writes())
        until(lambda: time.monotonic() - begin > LEASE + 15, LEASE, "the end of the lease", pause=1)
        bench.note("writes after the lease", bench.writes())
        start_again(bench)
        bench.note("reads after a new start", bench.reads())
        bench.note("writes after a new start", bench.writes())
        for name, one in bench.all.items():
            if name != "down-at-start":  # it does not listen yet
                one.provider("fault", "clear")
        bench.note("works again after, s", bench.recovers())
        bench.note("reads after the end of the fault", {"plaintext-wrong": summary([bench.read("plaintext-wrong")])})
        plane.api.restart()
        bench.note("reads at the end", bench.reads())
        measured("version", plane.api.request("GET", "/version").body["gitVersion"])
        yield bench.seen
    finally:
        for name, row in bench.seen.items():
            measured(name, row)
        bench.close()
        plane.close()
        processes.remove(directory)


def start_again(bench):
    """SIGKILL, and a new start until an object under a good provider can be read. `down-at-start` starts at the same time."""
    late = bench.all["down-at-start"]
    late.kill()
    late.options = ['--fault={"preset": "down-at-start", "lateStart": "150s"}']  # longer than a busy machine needs for the new start
    late.program = processes.Program(binary("mock-kms-provider"), "--listen-addr", late.endpoint, *late.options)
    bench.plane.api.restart(signal.SIGKILL, wait=False)
    good = bench.all["none"]
    until(lambda: bench.plane.read("old", good.resource, timeout=30) == "a secret", 240, lambda: bench.plane.api.ready(), pause=0.5)


@pytest.mark.parametrize("name", CASES)
def test_the_api_server_reacts_to_a_fault_as_documented(seen, name):
    wanted = dict(zip(COLUMNS, CASES[name][1:]))
    assert {column: seen[name][column] for column, value in wanted.items() if value} == {column: value for column, value in wanted.items() if value}, seen[name]


def test_everything_works_again_once_the_faults_are_cleared(seen):
    assert max(row["works again after, s"] or 0 for name, row in seen.items() if name != "down-at-start") <= 150
    assert {name for name, row in seen.items() if row["reads at the end"] != OK} == set()


def test_a_wrong_plaintext_stays_in_the_cache_of_the_api_server(seen):
    assert seen["plaintext-wrong"]["reads after the end of the fault"] == FAILS
