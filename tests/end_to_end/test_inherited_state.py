"""Each program starts from a known state, whatever its parent left behind: signals, descriptors, umask, limits."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from support.clock import can_preload
from support.kms_client import KmsClient
from support.processes import DEADLINE, SANITIZED, Program, binary

NAMES = "ALRM,CHLD,PIPE,TERM,USR1,USR2,XFSZ"


def shell(setup):
    return ["sh", "-c", setup + '; exec "$@"', "sh"]


LATE_TIMERS = """
import ctypes, os, sys
PR_SET_TIMERSLACK, an_hour = 29, ctypes.c_ulong(3600 * 10**9)
ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, an_hour)
os.execvp(sys.argv[1], sys.argv[1:])
"""

ODDITIES = {
    "SIGCHLD is ignored": ["env", "--ignore-signal=CHLD"],
    "many signals are ignored": ["env", f"--ignore-signal={NAMES}"],
    "many signals are blocked": ["env", f"--block-signal={NAMES}"],
    "stdin is closed": shell("exec 0<&-"),
    "stdout is closed": shell("exec 1>&-"),
    "stderr is closed": shell("exec 2>&-"),
    "stdin and stderr are closed": shell("exec 0<&- 2>&-"),
    "all standard streams are closed": shell("exec 0<&- 1>&- 2>&-"),
    "the stack is small": shell("ulimit -s 100"),
    "the umask forbids everything": shell("umask 0777"),
    "few descriptors may be open": shell("ulimit -Sn 16"),
    "timers may be late by an hour": [sys.executable, "-c", LATE_TIMERS],
    "the working directory is gone": shell('mkdir "$ODD" && cd "$ODD" && rmdir "$ODD"'),
}


@pytest.fixture(params=ODDITIES.values(), ids=ODDITIES.keys())
def start(request, directory):
    """Starts a program under one oddity."""
    environment = {**os.environ, "ODD": f"{directory}/gone"}
    started = []

    def begin(*command):
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen([*request.param, *command], env=environment, **streams))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_the_supervisor_sees_deaths_and_ends(directory, start):
    control = f"--control-socket=unix://{directory}/c.sock"
    endpoint = f"unix://{directory}/kms.sock"

    def healthy():
        status = subprocess.run([binary("supervisor"), control, "status", "--wait=20s", "-o", "json"],
                                capture_output=True, text=True, timeout=2 * DEADLINE)
        assert status.returncode == 0, status
        return json.loads(status.stdout)

    process = start(binary("supervisor"), control, "run", f"--socket={endpoint}", "--",
                    binary("mock-kms-provider"), f"--listen-addr={endpoint}")
    with KmsClient(endpoint, timeout=DEADLINE) as client:
        client.status()
    killed = healthy()["pid"]
    os.kill(killed, signal.SIGKILL)
    with KmsClient(endpoint, timeout=DEADLINE) as client:
        client.status()
    status = healthy()
    assert status["pid"] != killed and status["restarts"] == 1
    assert status["exits"][0]["status"].startswith("killed by SIGKILL")
    process.terminate()
    assert process.wait(DEADLINE) == 0


def test_the_provider_serves_and_ends(directory, start):
    endpoint = f"unix://{directory}/kms.sock"
    process = start(binary("mock-kms-provider"), f"--listen-addr={endpoint}")
    with KmsClient(endpoint, timeout=DEADLINE) as client:
        assert client.decrypt(client.encrypt(b"secret")) == b"secret"
    process.terminate()
    assert process.wait(DEADLINE) == 0


def test_the_builder_publishes_only_a_binary_that_works(directory, start):
    for name, code in ("good", 0), ("bad", 3):
        repository = directory / name
        (repository / "provider").mkdir(parents=True)
        (repository / "provider/main.cc").write_text(f"int main() {{ return {code}; }}\n")
        git = ["git", "-C", repository, "-c", "user.name=t", "-c", "user.email=t@example.org"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a plugin"]):
            subprocess.run([*git, *command], check=True)
        output = directory / f"{name}-plugin"
        build = start(binary("builder"), "build", f"--repo={repository}", "--path=provider", "--build=command",
                      "--build-command=c++ -o $OUTPUT main.cc", "--target=tool", f"--output={output}",
                      f"--build-dir={directory}/b-{name}")
        assert build.wait(3 * DEADLINE) == (0 if code == 0 else 1)
        assert output.exists() == (code == 0)


@pytest.mark.parametrize("program", ["mock-kms-provider", "supervisor", "builder"])
def test_a_named_pipe_whose_other_end_is_gone_stops_no_start(directory, program):
    os.mkfifo(directory / "pipe")
    reading = os.open(directory / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(directory / "pipe", os.O_WRONLY | os.O_NONBLOCK)
    os.close(reading)
    with open(writing, "w") as stderr:
        assert subprocess.run([binary(program), "--version"], stderr=stderr, stdout=subprocess.DEVNULL, timeout=DEADLINE).returncode == 0
    reading = os.open(directory / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open(reading) as stdin:
        assert subprocess.run([binary(program), "--version"], stdin=stdin, stdout=subprocess.DEVNULL, timeout=DEADLINE).returncode == 0


def test_few_open_files_are_refused_by_name(directory):
    with Program(*shell("ulimit -n 16"), binary("mock-kms-provider"), f"--listen-addr=unix://{directory}/kms.sock") as program:
        assert program.wait() == 1
        assert "raise the hard limit (ulimit -Hn) to 64 or more" in program.stderr[-1]


def test_a_log_that_has_reached_its_size_limit_ends_nothing(directory):
    endpoint = f"unix://{directory}/kms.sock"
    with open(directory / "log", "w") as log:
        process = subprocess.Popen([*shell("ulimit -f 0"), binary("mock-kms-provider"), f"--listen-addr={endpoint}"], stdout=log, stderr=log)
    with KmsClient(endpoint, timeout=DEADLINE) as client:
        assert client.decrypt(client.encrypt(b"secret")) == b"secret"
    process.terminate()
    assert process.wait(DEADLINE) == 0
    with open(directory / "help", "w") as output:
        full = subprocess.run([*shell("ulimit -f 0"), binary("mock-kms-provider"), "--help"], stdout=output, stderr=subprocess.PIPE, text=True)
    assert full.returncode == 1 and "File too large" in full.stderr


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's shadow memory is beyond any limit")
@pytest.mark.parametrize("kibibytes", [30_000, 50_000, 70_000, 90_000, 110_000, 130_000, 150_000, 200_000])
@pytest.mark.parametrize("supervised", [False, True], ids=["provider", "supervisor"])
@pytest.mark.parametrize("limit", ["v", "d"], ids=["address space", "data"])
def test_little_memory_is_refused_by_name_or_suffices(directory, limit, kibibytes, supervised):
    """gRPC waits for ever for a thread that cannot start, and then no signal ends the program."""
    plugin = [binary("mock-kms-provider"), f"--listen-addr=unix://{directory}/kms.sock"]
    command = [binary("supervisor"), f"--control-socket=unix://{directory}/c.sock", "run", f"--socket=unix://{directory}/kms.sock", "--", *plugin]
    with Program(*shell(f"ulimit -{limit} {kibibytes}"), *(command if supervised else plugin)) as program:
        try:
            program.wait_for_line("supervising" if supervised else ": started")
        except AssertionError:
            assert program.wait() == 1
            assert "raise the limits" in program.stderr[-1] and f"ulimit -{limit}" in program.stderr[-1]
            assert kibibytes < 200_000
        else:
            assert program.stop() == 0


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's shadow memory is beyond any limit")
@pytest.mark.parametrize("limit", ["-v 50000", "-v 90000", "-v 130000", "-n 16"])
def test_client_commands_too_are_refused_by_name_or_work(directory, limit):
    endpoint, control = f"unix://{directory}/kms.sock", f"--control-socket=unix://{directory}/c.sock"
    plugin = [binary("mock-kms-provider"), f"--listen-addr={endpoint}"]
    with Program(binary("supervisor"), control, "run", f"--socket={endpoint}", "--", *plugin) as program:
        subprocess.run([binary("supervisor"), control, "status", "--wait=20s"], capture_output=True, check=True, timeout=2 * DEADLINE)
        for client in ([binary("supervisor"), control, "status", "--live"], [binary("supervisor"), "check", endpoint],
                       [binary("mock-kms-provider"), "status", f"--socket={endpoint}"]):
            done = subprocess.run([*shell(f"ulimit {limit}"), *client], capture_output=True, text=True, timeout=DEADLINE)
            assert done.returncode == 0 or (done.returncode == 1 and "raise the" in done.stderr), done
        assert program.stop() == 0


@pytest.mark.skipif(not can_preload("mock-kms-provider"), reason="a library cannot be preloaded into this build")
def test_a_provider_that_gets_no_more_threads_ends_at_TERM(directory):
    """A control group's pids.max shows in no limit; gRPC waits for ever."""
    library = directory / "few_threads.so"
    source = pathlib.Path(__file__).parents[1] / "support/few_threads.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    environment = {"LD_PRELOAD": str(library), "THREADS": "1"}
    with Program(binary("mock-kms-provider"), f"--listen-addr=unix://{directory}/kms.sock", env=environment) as program:
        program.wait_for_line("published test seed")
        assert program.stop() == 1
