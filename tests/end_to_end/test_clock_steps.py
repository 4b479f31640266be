"""A wall clock that is set in either direction delays no deadline."""

import os
import signal
import socket
import subprocess
import time

import grpc
import pytest

from proto import kms_v2_pb2 as v2
from support.clock import ShiftedClock, can_preload
from support.processes import DEADLINE, Program, binary, run_provider, stop_threads
from support.supervised import Supervised

HOUR = 3600
QUICK = ["--probe-interval=200ms", "--probe-timeout=300ms", "--failure-threshold=2", "--hang-grace=200ms"]

pytestmark = pytest.mark.skipif(not can_preload("supervisor"), reason="a library cannot be preloaded into this build")


@pytest.mark.parametrize("handover", ["require", "off"])
@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_hung_plugin_is_replaced_in_time_whatever_the_wall_clock_does(directory, handover, step):
    clock = ShiftedClock(directory)
    with Supervised(directory, options=[*QUICK, f"--handover={handover}"], env={**os.environ, **clock.env}) as supervised:
        pid = supervised.healthy()["pid"]
        os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        time.sleep(0.25)  # so that a probe without an answer is under way when the clock is set
        clock.set(step)
        supervised.program.wait_for_line("the plugin ended pid=%d" % pid)
        assert time.monotonic() - begun < 5
        assert supervised.healthy()["pid"] != pid


@pytest.fixture
def clock(directory):
    return ShiftedClock(directory)


@pytest.fixture
def provider(start_provider, endpoint, clock):
    """A provider whose wall clock the test sets."""
    return start_provider(endpoint, "--drain-grace=1s", env=clock.env)


def added(endpoint, *fault):
    done = run_provider("fault", "add", *fault, "--socket", endpoint)
    assert done.returncode == 0, done.stderr


def seconds_of(work):
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_an_injected_latency_lasts_as_long_whatever_the_wall_clock_does(provider, endpoint, clock, client, step):
    added(endpoint, "latency", "--latency", "1s", "--method", "encrypt")

    def encrypt():
        slow = client.stub.Encrypt.future(v2.EncryptRequest(plaintext=b"secret", uid="u"), timeout=30)
        time.sleep(0.2)
        clock.set(step)
        slow.result()

    assert 1 <= seconds_of(encrypt) < 4


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_provider_ends_in_time_with_a_call_in_flight(provider, endpoint, clock, client, step):
    added(endpoint, "network-partition", "--method", "encrypt")
    hung = client.stub.Encrypt.future(v2.EncryptRequest(plaintext=b"secret", uid="u"), timeout=30)
    time.sleep(0.2)

    def stop():
        provider.send(signal.SIGTERM)
        time.sleep(0.2)
        clock.set(step)
        provider.wait()

    assert seconds_of(stop) < 4
    assert hung.code() == grpc.StatusCode.UNAVAILABLE


def seconds_until_closed(path, clock):
    """How long a server keeps a connection on which nothing is sent, with the clock set back by an hour meanwhile."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(DEADLINE)
        silent.connect(str(path))
        begun = time.monotonic()
        time.sleep(0.5)
        clock.set(-HOUR)
        while silent.recv(4096):
            pass
        return time.monotonic() - begun


def test_a_provider_closes_a_silent_connection_in_time(start_provider, directory, endpoint, clock):
    start_provider(endpoint, "--timeout=2s", env=clock.env)
    assert seconds_until_closed(directory / "kms.sock", clock) < 4


def test_a_supervisor_closes_a_silent_connection_in_time(directory, clock):
    command = [binary("mock-kms-provider"), f"--listen-addr=unix://{directory}/kms.sock"]
    with Supervised(directory, command, ["--probe-interval=1h"], env={**os.environ, **clock.env}) as supervised:
        supervised.healthy()
        assert seconds_until_closed(directory / "control.sock", clock) < 7


@pytest.mark.parametrize("command", [["status"], ["fault", "list"], ["journal"]])
@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_command_gives_up_in_time_on_a_provider_that_does_not_answer(provider, endpoint, clock, command, step):
    stop_threads(provider.pid)
    with Program(binary("mock-kms-provider"), *command, "--socket", endpoint, "--timeout=1s", env=clock.env) as waiting:

        def give_up():
            time.sleep(0.4)
            clock.set(step)
            assert waiting.wait() == 3

        assert seconds_of(give_up) < 4


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_journal_that_is_followed_goes_on(provider, endpoint, clock, client, step):
    follow = subprocess.Popen([binary("mock-kms-provider"), "journal", "--follow", "--tail=9", "--socket", endpoint], stdout=subprocess.PIPE, text=True)
    try:
        client.encrypt(b"secret", uid="before")
        assert any("before" in line for line in iter(follow.stdout.readline, ""))
        clock.set(step)
        client.encrypt(b"secret", uid="after")
        begun = time.monotonic()
        assert any("after" in line for line in iter(follow.stdout.readline, ""))
        assert time.monotonic() - begun < 4
    finally:
        follow.kill()
        follow.wait()
        follow.stdout.close()
