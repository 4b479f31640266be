"""Lost output is a failure: every command that prints says why its output could not be written."""

import os
import resource
import socket
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


@pytest.mark.parametrize("program, args", [
    ("mock-kms-provider", ["journal"]), ("mock-kms-provider", ["status", "-o", "json"]), ("mock-kms-provider", ["--help"]),
    ("supervisor", ["--version"]), ("supervisor", ["--completion", "bash"]), ("builder", ["--help"]),
], ids=" ".join)
def test_a_closed_stdout_loses_the_output_too(start_provider, endpoint, program, args):
    socket = []
    if not args[0].startswith("--"):
        start_provider(endpoint)
        socket = ["--socket", endpoint]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", binary(program), *args, *socket], stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    assert done.returncode == 1 and "cannot write to standard output: Bad file descriptor" in done.stderr


def test_a_closed_stdin_is_no_empty_plaintext(start_provider, endpoint):
    start_provider(endpoint)
    command = ["sh", "-c", 'exec "$@" <&-', "sh", binary("mock-kms-provider"), "encrypt", "--socket", endpoint]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1 and done.stdout == "" and "cannot read standard input: Bad file descriptor" in done.stderr


@pytest.mark.parametrize("make", [os.pipe, lambda: [end.detach() for end in socket.socketpair()]], ids=["pipe", "socket"])
def test_non_blocking_streams_carry_everything(start_provider, endpoint, make):
    """Parents with an event loop leave their pipes and sockets so."""
    start_provider(endpoint)
    ours_in, theirs_in = make()[::-1]
    theirs_out, ours_out = make()[::-1]
    for stream in (theirs_in, theirs_out):
        os.set_blocking(stream, False)
    secret = b"s" * 300_000
    with subprocess.Popen([binary("mock-kms-provider"), "encrypt", "--socket", endpoint], stdin=theirs_in, stdout=theirs_out) as process:
        os.close(theirs_in)
        os.close(theirs_out)
        time.sleep(0.2)  # the program asks for input that is not there yet
        with open(ours_in, "wb") as stdin:
            stdin.write(secret)
        time.sleep(0.2)  # and the pipe of its output is full
        with open(ours_out, "rb") as stdout:
            sealed = stdout.read()
        assert process.wait(DEADLINE) == 0
    assert run_provider("decrypt", "--socket", endpoint, input=sealed, text=False).stdout == secret


@pytest.mark.parametrize("program", ["mock-kms-provider", "supervisor", "builder"])
def test_manual_pages_that_do_not_fit_name_the_cause(directory, program):
    done = subprocess.run(["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", binary(program), "--manual", directory],
                          capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1 and f"cannot write {directory}/{program}.1: File too large" in done.stderr
    assert list(directory.iterdir()) == []


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
