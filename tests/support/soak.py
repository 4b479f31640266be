"""Random events against the three programs while clients call; each promise is checked all the while.

A Soak is replayable: the same seed makes the same events in the same order. Its own thread makes the events; one thread
calls the plugin and keeps what it sealed.
"""

import json
import os
import random
import signal
import subprocess
import threading
import time

import grpc

from support.kms_client import KmsClient
from support.processes import DEADLINE, binary, run_provider
from support.supervised import Supervised

# Errors that an event may cause. A broken promise is not among them.
EXCUSED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
FAULTS = (["key-disabled"], ["latency", "--latency", "200ms"], ["error", "--code", "internal", "--every", "3"], ["network-partition"])
FAULT_CODES = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INTERNAL}
SANITIZERS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")
KEPT = 500  # sealed values that are opened again and again
BUILD_SCRIPT = 'printf "#!/bin/sh\\necho %s\\n" "$(cat version)" > "$OUTPUT" && chmod 755 "$OUTPUT"'


class Caller(threading.Thread):
    """Seals, opens what was sealed before, and judges each answer."""

    def __init__(self, endpoint, chance):
        super().__init__(daemon=True)
        self._client = KmsClient(endpoint, timeout=DEADLINE)
        self._chance = chance
        self._ended = threading.Event()
        self._newest = 0
        self.sealed = []
        self.calls = 0
        self.errors = {}
        self.broken = []

    def run(self):
        while not self._ended.is_set():
            try:
                self._step()
            except grpc.RpcError as error:
                code = error.code()
                self.errors[code.name] = self.errors.get(code.name, 0) + 1
                if code not in EXCUSED | FAULT_CODES:
                    self.broken.append(f"a call ended with {code.name}: {error.details()}")

    def _step(self):
        self.calls += 1
        if self.sealed and self._chance.random() < 0.6:
            return self.open(self._chance.choice(self.sealed))
        plaintext = self._chance.randbytes(self._chance.choice((1, 32, 4096)))
        sealed = self._client.encrypt(plaintext)
        version = int(sealed.key_id.split("/")[1][1:])
        if version < self._newest:
            self.broken.append(f"the key went back from v{self._newest} to v{version}")
        self._newest = max(self._newest, version)
        self.sealed.append((plaintext, sealed))
        if len(self.sealed) > KEPT:
            self.sealed.pop(self._chance.randrange(KEPT))

    def open(self, pair):
        plaintext, sealed = pair
        if self._client.decrypt(sealed) != plaintext:
            self.broken.append(f"a wrong plaintext under {sealed.key_id}")

    def end(self):
        self._ended.set()
        self.join(3 * DEADLINE)
        assert not self.is_alive(), "a call does not end"

    def open_all(self):
        for pair in self.sealed:
            self.open(pair)
        self._client.close()


def reports_in(lines):
    """The lines of the sanitizers' reports: each from its first line to its summary, at most 80."""
    found, left = [], 0
    for line in lines:
        if any(name in line for name in SANITIZERS):
            left = 80
        if left:
            found.append(line)
        left = 0 if "SUMMARY" in line else max(0, left - 1)
    return found


class Soak:
    """`clock` is a ShiftedClock, or None where the wall clock cannot be set."""

    def __init__(self, directory, seed, clock=None):
        self._directory = directory
        self._chance = random.Random(seed)
        self._clock = clock
        self.events = {}
        options = ["--probe-interval=200ms", "--probe-timeout=1s", "--failure-threshold=2", "--hang-grace=200ms", "--backoff-max=200ms"]
        if self._chance.random() < 0.5:
            options.append("--standby")
        endpoint = f"unix://{directory}/kms.sock"
        command = [binary("mock-kms-provider"), "--log-level=debug", "serve", f"--listen-addr={endpoint}", f"--state-dir={directory}/state"]
        self.supervised = Supervised(directory, command, options, endpoint, env={**os.environ, **(clock.env if clock else {})})
        self._source = self._repository()

    def run(self, seconds):
        """Makes events for that long and returns what was seen. Fails if the programs do not recover or end well."""
        with self.supervised as supervised:
            supervised.healthy()
            caller = Caller(supervised.endpoint, random.Random(self._chance.random()))
            caller.start()
            self._make_events(time.monotonic() + seconds)
            caller.end()
            self._recover()
            caller.open_all()
            restarts = supervised.status()["restarts"]
            supervised.program.send(signal.SIGTERM)
            code = supervised.program.wait()
            findings = reports_in(supervised.program.stderr)
        return {"events": self.events, "calls": caller.calls, "errors": caller.errors, "kept": len(caller.sealed), "restarts": int(restarts),
                "broken": caller.broken, "findings": findings, "exit_code": code}

    def _make_events(self, until):
        events = [self.kill, self.hang, self.rotate, self.add_fault, self.remove_socket, self.remove_control_sockets, self.flood_log,
                  self.restart, self.build]
        if self._clock:
            events.append(self.step_clock)
        while time.monotonic() < until:
            event = self._chance.choice(events)
            pause = self._chance.uniform(0.05, 1.5)
            event()
            self.events[event.__name__] = self.events.get(event.__name__, 0) + 1
            time.sleep(min(pause, max(0, until - time.monotonic())))

    def _recover(self):
        run_provider("fault", "clear", "--socket", self.supervised.endpoint)
        self.supervised.healthy()

    # --- the events

    def _signal(self, number):
        status = self.supervised.status_run("-o", "json")
        pid = json.loads(status.stdout).get("pid") if status.stdout else None
        if pid:
            try:
                os.kill(int(pid), number)
            except ProcessLookupError:
                pass  # it ended in this moment

    def kill(self):
        self._signal(signal.SIGKILL)

    def hang(self):
        self._signal(signal.SIGSTOP)

    def rotate(self):
        run_provider("rotate", "--socket", self.supervised.endpoint, "--timeout=1s")

    def add_fault(self):
        fault = self._chance.choice(FAULTS)
        length = self._chance.choice(("100ms", "1s"))
        run_provider("fault", "add", *fault, "--for", length, "--socket", self.supervised.endpoint, "--timeout=1s")

    def remove_socket(self):
        (self._directory / "kms.sock").unlink(missing_ok=True)

    def remove_control_sockets(self):
        for name in ("control.sock", "kms.sock.control"):
            (self._directory / name).unlink(missing_ok=True)

    def flood_log(self):
        """Each refused call of this is a line of the provider's log."""
        with KmsClient(self.supervised.endpoint, timeout=0.2) as client:
            for _ in range(200):
                try:
                    client.encrypt(b"", uid="")
                except grpc.RpcError:
                    pass

    def restart(self):
        self.supervised.client("restart", "--timeout=5s")

    def step_clock(self):
        self._clock.set(self._chance.choice((-3600, 0, 3600)))

    # --- the builder

    def _repository(self):
        source = self._directory / "source"
        source.mkdir()
        self._git(source, "init", "-q")
        (source / "build.sh").write_text(BUILD_SCRIPT)
        self._commit(source, 0)
        return source

    def _git(self, source, *command):
        subprocess.run(["git", "-C", source, "-c", "user.name=t", "-c", "user.email=t@t.invalid", *command], check=True, capture_output=True)

    def _commit(self, source, version):
        (source / "version").write_text(str(version))
        self._git(source, "add", ".")
        self._git(source, "commit", "-qm", str(version))

    def build(self):
        """A build that may be killed: its output is one of the versions, whole."""
        version = 1 + sum(self.events.values())  # 0 is the first commit
        self._commit(self._source, version)
        output = self._directory / "tool"
        before = output.read_text() if output.exists() else None
        command = [binary("builder"), "build", "--repo", self._source, "--path", "build.sh,version", "--build", "command",
                   "--build-command", "sh build.sh", "--target", "tool", "--output", output, "--build-dir", self._directory / "build",
                   "--smoke-test", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as building:
            if self._chance.random() < 0.5:
                time.sleep(self._chance.uniform(0, 0.3))
                building.send_signal(self._chance.choice((signal.SIGKILL, signal.SIGTERM)))
            text = building.communicate(timeout=3 * DEADLINE)[1]
        wanted = f"#!/bin/sh\necho {version}\n"
        after = output.read_text() if output.exists() else None
        assert after in (before, wanted), f"the output is {after!r}"
        assert building.returncode != 0 or after == wanted, text
        assert not any(name in text for name in SANITIZERS), text
