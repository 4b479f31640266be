"""Starts a program under test, waits for its output or its sockets, and ends it by its pid.

Every wait has a deadline and an event behind it; nothing sleeps. A Program is used by the test's own thread; a reader
thread per Program keeps its stderr, so that a program that logs much never blocks.
"""

import contextlib
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time

DEADLINE = 20.0  # seconds, for what takes milliseconds on an idle machine

SANITIZED = any(kind in os.environ["KMS_BIN_DIR"] for kind in ("asan", "tsan"))
"""A sanitizer's shadow memory is beyond any limit, and these builds link gRPC dynamically."""


def binary(name):
    """The path of a program of this build."""
    return os.path.join(os.environ["KMS_BIN_DIR"], name)


def run(name, *args, **options):
    """Runs a program of this build to its end. What it reads and prints is text unless `text=False` is given."""
    usual = {"capture_output": True, "text": True, "timeout": DEADLINE}
    return subprocess.run([binary(name), *map(str, args)], **{**usual, **options})


def run_provider(*args, **options):
    return run("mock-kms-provider", *args, **options)


def full_pipe():
    """The read end and the write end of a pipe that takes nothing more until somebody reads."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    return read, write


class Program:
    """A running process. `stderr` holds its lines so far."""

    def __init__(self, *args, env=None, **popen):
        self.args = [str(arg) for arg in args]
        self._lines = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            self.args,
            env={**os.environ, **(env or {})},
            stdin=popen.pop("stdin", subprocess.DEVNULL),
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            **popen,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self):
        return self.process.pid

    @property
    def stderr(self):
        with self._changed:
            return list(self._lines)

    def _read(self):
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for_line(self, text, deadline=DEADLINE, start=0):
        """The first stderr line from index `start` that holds `text`."""

        def found():
            return next((line for line in self._lines[start:] if text in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, deadline)
            line = found()
        if line is None:
            raise AssertionError(f"{self.args[0]} did not print {text!r}; it printed: {self.stderr}")
        return line

    def send(self, number):
        os.kill(self.pid, number)

    def wait(self, deadline=DEADLINE):
        """The exit code (negative: the signal that ended it) after the end of the process and of its output."""
        code = self.process.wait(deadline)
        self._reader.join(deadline)
        return code

    def stop(self, number=signal.SIGTERM, deadline=DEADLINE):
        """Sends the signal and waits for the end."""
        if self.process.poll() is None:
            self.send(number)
        return self.wait(deadline)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        self.process.stderr.close()


def wait_for_exit(pid, deadline=DEADLINE):
    """Waits for the end of a process that is not a child of this one. Returns at once if there is none."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(deadline * 1000):
            raise AssertionError(f"pid {pid} is still there after {deadline} s")
    finally:
        os.close(fd)


def stop_threads(pid, deadline=DEADLINE):
    """SIGSTOP, and the wait until it has stopped every thread: those of a busy machine run on for a while."""
    os.kill(pid, signal.SIGSTOP)
    wait_until_stopped(pid, deadline)


def wait_until_stopped(pid, deadline=DEADLINE):
    """Waits until every thread is stopped, whoever stops them."""
    until = time.monotonic() + deadline
    tasks = pathlib.Path(f"/proc/{pid}/task")
    while any((task / "stat").read_text().rsplit(")", 1)[1].split()[0] != "T" for task in tasks.iterdir()):
        assert time.monotonic() < until, f"pid {pid} did not stop within {deadline} s"
        os.sched_yield()


def short_directory():
    """A new directory with a short path (a Unix address holds 107 bytes). The caller removes it by remove()."""
    return pathlib.Path(tempfile.mkdtemp(prefix="kms", dir="/tmp"))


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)
