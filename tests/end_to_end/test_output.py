"""Lost output is a failure: every command that prints says why its output could not be written."""

import os
import resource
import subprocess
import time

import pytest

from support.processes import DEADLINE, binary, run_provider


def run_into_full(program, *args, stdin=b""):
    with open("/dev/full", "w") as full:
        return subprocess.run([binary(program), *map(str, args)], input=stdin, stdout=full, stderr=subprocess.PIPE, timeout=DEADLINE)


def expect_lost(done):
    assert done.returncode == 1
    assert b": cannot write to standard output: No space left on device\n" in done.stderr


@pytest.mark.parametrize("program", ["mock-kms-provider", "supervisor", "builder"])
@pytest.mark.parametrize("option", ["--help", "--version", "--help-all"])
def test_help_and_version(program, option):
    expect_lost(run_into_full(program, option))


@pytest.mark.parametrize("args", [
    ["status"], ["keys"], ["rotate"], ["journal"], ["journal", "-o", "json"], ["journal", "--counts"], ["journal", "--follow"],
    ["metrics"], ["fault", "list"], ["fault", "clear"], ["scenario", "status"], ["config"], ["encrypt"],
], ids=" ".join)
def test_every_command_of_the_provider(start_provider, endpoint, args):
    start_provider(endpoint)
    run_provider("encrypt", "--socket", endpoint, input="secret", check=True)
    expect_lost(run_into_full("mock-kms-provider", *args, "--socket", endpoint))


def wait_for(condition, deadline=DEADLINE):
    until = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_supervisor_whose_log_took_nothing_for_a_while_logs_on(directory):
    log = directory / "log"
    control = f"--control-socket=unix://{directory}/control.sock"

    def client(*command):
        return subprocess.run([binary("supervisor"), control, *command], capture_output=True, text=True, timeout=DEADLINE)

    with open(log, "ab") as stderr, subprocess.Popen(
            [binary("supervisor"), control, "run", f"--socket=unix://{directory}/kms.sock", "--", "/bin/sh", "-c",
             "i=0; while [ $i -lt 1500 ]; do printf '%01000d\\n' $i; i=$((i+1)); done; exec sleep 1000"], stderr=stderr) as supervisor:
        try:
            wait_for(lambda: client("status", "--live").returncode == 0)
            pid = supervisor.pid
            wait_for(lambda: log.read_text().rstrip().endswith("1499"))
            limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (os.path.getsize(log) + 10, limit[1]))  # as a disk that is full
            client("stop")
            client("start")
            wait_for(lambda: "lines were dropped" in client("status").stdout)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
            wait_for(lambda: " lines were dropped: " in log.read_text())
            lines = len(log.read_text().splitlines())
            client("stop")
            wait_for(lambda: len(log.read_text().splitlines()) > lines)
        finally:
            supervisor.kill()
