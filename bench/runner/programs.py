"""The programs that are measured, the instruments that measure them, and how both are started and ended."""

import contextlib
import json
import pathlib
import subprocess
import tempfile
import time


class Programs:
    """The directory of the built programs, and the path of bench/go_server's program or None."""

    def __init__(self, directory, go_server=None):
        self.directory = pathlib.Path(directory).resolve()
        self.go_server = go_server

    def __getattr__(self, name):
        path = self.directory / name.replace("_", "-")
        if not path.exists():
            raise SystemExit(f"bench/run: cannot find {path}; build it with: cmake --build build/bench")
        return str(path)


def wait_for(condition, what, seconds=30):
    """The first true value of `condition()`."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(0.01)
    return value


@contextlib.contextmanager
def running(command, log):
    """A process that is ended by TERM, and by KILL where that does not help."""
    with open(log, "ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def results_of(command):
    """The JSON objects that an instrument printed, one a line."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def short_directory():
    """A directory whose sockets' addresses are short enough for a Unix socket."""
    return tempfile.TemporaryDirectory(prefix="kms-bench.", dir="/tmp")


class OutageClient:
    """bench-outage, spoken to line by line."""

    def __init__(self, programs, socket, callers=1):
        self._process = subprocess.Popen(
            [programs.bench_outage, "--socket", socket, "--callers", str(callers)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        self._answer()  # it says when calls succeed
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("bench-outage gave up; its reason is above")
        return json.loads(line)

    def ask(self, command):
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()
