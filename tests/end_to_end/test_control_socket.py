"""The control socket: who is heard, grpc.health.v1 on it, and what garbage and floods do to it."""

import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import grpc
import pytest

from support.processes import DEADLINE, Program, binary, run_provider
from support.supervised import PYTHON, Supervised

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")


def connect(directory):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(f"{directory}/control.sock")
    return connection


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_garbage_on_the_control_socket_does_no_harm(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        oversized_frame = preface + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 100000
        for number, bytes_ in enumerate([b"\0" * 100000, b"GET / HTTP/1.1\r\n\r\n", preface, oversized_frame,
                                         preface + os.urandom(200000)]):
            with connect(directory) as connection:
                try:
                    connection.sendall(bytes_)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                except OSError:
                    pass  # it was closed on us
            assert supervised.healthy()["pid"] == pid, number


def test_a_control_socket_that_is_removed_is_bound_again(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        os.unlink(f"{directory}/control.sock")
        supervised.program.wait_for_line("the control socket was removed; it is bound again")
        assert supervised.status_run("--live").returncode == 0
        assert supervised.healthy()["pid"] == pid


def test_a_control_socket_is_bound_again_after_its_directory_was_removed(directory):
    own = directory / "control"
    own.mkdir()
    with Supervised(own, socket_uri=f"unix://{directory}/kms.sock") as supervised:
        supervised.healthy()
        shutil.rmtree(own)
        supervised.program.wait_for_line("the control socket was removed; it is bound again")
        assert supervised.status_run("--live").returncode == 0
        assert own.stat().st_mode & 0o777 == 0o700


def test_a_live_process_keeps_the_path_of_the_control_socket_and_the_warning_comes_once(directory):
    with Supervised(directory) as supervised, socket.socket(socket.AF_UNIX) as other:
        supervised.healthy()
        os.unlink(f"{directory}/control.sock")
        other.bind(f"{directory}/control.sock")
        other.listen()
        supervised.program.wait_for_line("the control socket was removed cause=")
        time.sleep(2.5)  # two more checks
        assert sum("the control socket was removed" in line for line in supervised.program.stderr) == 1
        os.unlink(f"{directory}/control.sock")
        supervised.program.wait_for_line("the control socket was removed; it is bound again")
        assert supervised.status_run("--live").returncode == 0


def test_a_liveness_probe_does_not_wait_for_a_hung_plugin(directory):
    with Supervised(directory, options=["--probe-timeout=20s"]) as supervised:
        pid = supervised.healthy()["pid"]
        os.kill(pid, signal.SIGSTOP)
        seconds = []
        for _ in range(5):  # on a busy machine one start takes as long
            begun = time.monotonic()
            assert supervised.status_run("--live").returncode == 0
            seconds.append(time.monotonic() - begun)
        assert min(seconds) < 0.45  # a report of the plugin's is waited for 0.5 s


@pytest.mark.parametrize("name", ["my-supervisor.sock", "supervisor-" + "x" * 60 + ".sock", "@abstract-supervisor"], ids=["path", "long path", "abstract"])
def test_a_client_that_finds_no_supervisor_names_option_variable_and_supervisors_that_answer(directory, name):
    control = f"unix:///{name}-{os.getpid()}" if name.startswith("@") else f"unix://{directory}/{name}"
    with Program(binary("supervisor"), "--control-socket", control, "run", "--socket", f"unix://{directory}/kms.sock", "--",
                 binary("mock-kms-provider"), "--listen-addr", f"unix://{directory}/kms.sock") as program:
        program.wait_for_line("supervising")
        done = subprocess.run([binary("supervisor"), f"--control-socket=unix://{directory}/no.sock", "status"],
                              capture_output=True, text=True, timeout=DEADLINE)
        program.stop()
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "--control-socket or SUPERVISOR_CONTROL_SOCKET" in done.stderr
    assert "a supervisor answers on" in done.stderr and control in done.stderr


@pytest.mark.parametrize("command", ["status", "keys"])
def test_a_client_that_finds_no_plugin_names_option_variable_and_providers_that_answer(directory, command):
    socket_uri = f"unix://{directory}/some.sock"
    with Program(binary("mock-kms-provider"), "--listen-addr", socket_uri) as program:
        program.wait_for_line(": started")
        done = run_provider(command, "--socket", f"unix://{directory}/no.sock")
        program.stop()
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "--socket" in done.stderr and "MOCK_KMS_SOCKET" in done.stderr
    assert re.search(f"; one answers on (.*, )?{socket_uri}(,|$)", done.stderr.strip()), done.stderr
    assert f"{socket_uri}.control" not in done.stderr


def test_a_flood_of_silent_connections_is_bounded_and_the_plugin_is_still_repaired(directory):
    with Supervised(directory, options=["--stable-after=1ms"]) as supervised:
        pid = supervised.healthy()["pid"]
        flood = [connect(directory) for _ in range(500)]
        mark = len(supervised.program.stderr)
        os.kill(pid, signal.SIGKILL)
        supervised.program.wait_for_line("after=", start=mark)
        assert open_descriptors(supervised.program.pid) < 150
        for connection in flood:
            connection.close()
        assert supervised.healthy()["pid"] != pid
        assert supervised.program.wait_for_line("closed an idle connection to the control socket: there are 64 already")


def test_idle_connections_make_room_for_a_probe(directory):
    with Supervised(directory) as supervised, contextlib.ExitStack() as idle:
        supervised.healthy()
        for _ in range(64):
            grpc.channel_ready_future(idle.enter_context(health_channel(supervised))).result(DEADLINE)
        for _ in range(3):
            live = supervised.status_run("--live")
            assert live.returncode == 0, live.stderr
        assert supervised.program.wait_for_line("closed an idle connection to the control socket: there are 64 already")


def test_a_connection_with_a_call_in_flight_is_not_closed_to_make_room(directory, watch):
    with Supervised(directory) as supervised, contextlib.ExitStack() as idle:
        supervised.healthy()
        watchers = [watch(supervised) for _ in range(3)]
        assert [watcher.next() for watcher in watchers] == ["SERVING"] * 3
        for _ in range(100):
            grpc.channel_ready_future(idle.enter_context(health_channel(supervised))).result(DEADLINE)
        supervised.client("stop")
        assert [watcher.next() for watcher in watchers] == ["NOT_SERVING"] * 3


def test_64_calls_in_flight_are_the_most_and_the_next_connection_is_refused(directory, watch):
    with Supervised(directory) as supervised:
        supervised.healthy()
        watchers = [watch(supervised) for _ in range(64)]
        assert [watcher.next() for watcher in watchers] == ["SERVING"] * 64
        assert supervised.status_run("--live").returncode == 3
        assert supervised.program.wait_for_line("refused a connection to the control socket: there are 64 with calls in flight")
        watchers[0].go()
        assert supervised.status_run("--wait=20s").returncode == 0


def test_a_silent_connection_is_closed_after_5_seconds(directory):
    with Supervised(directory) as supervised:
        supervised.healthy()
        begun = time.monotonic()
        with connect(directory) as silent:
            while silent.recv(4096):
                pass
        assert 4.5 < time.monotonic() - begun < 10


def test_a_flood_of_calls_from_many_threads_is_answered(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        failures = []

        def ask():
            for _ in range(5):
                result = supervised.status_run()
                if result.returncode != 0:
                    failures.append(result.stderr)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == [] and supervised.healthy()["pid"] == pid


ASK = """
import socket, sys
greeting = b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + b"\\0\\0\\0\\4\\0\\0\\0\\0\\0"  # a preface and its SETTINGS
for _ in range(int(sys.argv[2])):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    try:
        connection.connect(sys.argv[1])
        connection.sendall(greeting)
        answer = connection.recv(1)
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    except PermissionError:
        answer = b"no way in"
    print(len(answer), flush=True)
"""


def greet_as(user, directory, times=1):
    """The numbers of bytes that came back when the process of another user greeted the control socket."""
    asked = subprocess.run([PYTHON, "-c", ASK, f"{directory}/control.sock", str(times)], user=user, extra_groups=[],
                           capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, asked.stderr
    return [int(line) for line in asked.stdout.split()]


@as_root
def test_another_user_is_kept_out_by_the_mode_and_refused_by_the_kernels_word_where_the_mode_was_opened(directory):
    directory.chmod(0o755)
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        assert greet_as(NOBODY, directory) == [len("no way in")]
        os.chmod(f"{directory}/control.sock", 0o666)
        before = open_descriptors(supervised.program.pid)
        assert greet_as(0, directory) == [1], "root is answered"
        assert greet_as(NOBODY, directory, times=200) == [0] * 200
        line = supervised.program.wait_for_line("refused a connection to the control socket: it belongs to another user")
        assert 'from="nobody (uid 65534, ' in line
        assert supervised.healthy()["pid"] == pid
        assert open_descriptors(supervised.program.pid) <= before + 2, "none of the refused is still open"


@as_root
def test_a_supervisor_of_another_user_hears_that_user_and_root(directory):
    directory.chmod(0o777)
    program = Program(binary("supervisor"), f"--control-socket=unix://{directory}/control.sock", "run",
                      f"--socket=unix://{directory}/kms.sock", "--", binary("mock-kms-provider"),
                      f"--listen-addr=unix://{directory}/kms.sock", user=NOBODY, extra_groups=[])
    with program:
        ask = [binary("supervisor"), f"--control-socket=unix://{directory}/control.sock", "status", "--wait=20s"]
        assert subprocess.run(ask, capture_output=True).returncode == 0
        assert subprocess.run(ask, capture_output=True, user=NOBODY, extra_groups=[]).returncode == 0
        stranger = subprocess.run(ask[:-1], capture_output=True, text=True, user=NOBODY - 1, extra_groups=[])
        assert stranger.returncode == 3 and "Permission denied; run as the supervisor's user or as root" in stranger.stderr
        os.chmod(f"{directory}/control.sock", 0o666)
        assert greet_as(NOBODY - 1, directory) == [0] and greet_as(NOBODY, directory) == [1]
        assert program.stop() == 0


STATUSES = {b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING", b"\x08\x03": "SERVICE_UNKNOWN"}


def service(name):
    """HealthCheckRequest{service = 1} of grpc.health.v1, by its bytes."""
    return b"\x0a" + bytes([len(name)]) + name.encode() if name else b""


def health_channel(supervised):
    """One with a connection of its own, as another process has it."""
    return grpc.insecure_channel(f"unix:{supervised.control.removeprefix('unix://')}",
                                 options=[("grpc.use_local_subchannel_pool", 1)])


def check(supervised, name):
    with health_channel(supervised) as channel:
        ask = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=None, response_deserializer=None)
        return STATUSES[ask(service(name), timeout=DEADLINE)]


class Watcher:
    """A client of Watch: what it was told so far, and the code with which the stream ended."""

    def __init__(self, supervised, name=""):
        self._channel = health_channel(supervised)
        watch = self._channel.unary_stream("/grpc.health.v1.Health/Watch", request_serializer=None, response_deserializer=None)
        self._call = watch(service(name), timeout=DEADLINE * 3)
        self._answers = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        try:
            for answer in self._call:
                self._answers.put(STATUSES[answer])
        except grpc.RpcError as error:
            self._answers.put(error.code())

    def next(self):
        return self._answers.get(timeout=DEADLINE)

    def go(self):
        self._call.cancel()
        self._thread.join()
        self._channel.close()


@pytest.fixture
def watch():
    watchers = []

    def start(supervised, name=""):
        watchers.append(Watcher(supervised, name))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.go()


def test_grpc_health_tells_readiness(directory):
    with Supervised(directory) as supervised:
        supervised.healthy()
        assert check(supervised, "") == "SERVING" and check(supervised, supervised.endpoint) == "SERVING"
        supervised.client("stop")
        assert check(supervised, "") == "NOT_SERVING" and check(supervised, supervised.endpoint) == "NOT_SERVING"
        with pytest.raises(grpc.RpcError) as unknown:
            check(supervised, "unix:///other")
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_watchers_of_grpc_health_are_told_of_deaths_pauses_and_recoveries(directory, watch):
    with Supervised(directory, options=["--backoff-initial=2s"]) as supervised:
        pid = supervised.healthy()["pid"]
        os.kill(pid, signal.SIGKILL)  # the next death is followed by a back-off that nobody overlooks
        pid = supervised.healthy_after(pid)["pid"]
        whole, one, unknown = watch(supervised), watch(supervised, supervised.endpoint), watch(supervised, "unix:///other")
        assert (whole.next(), one.next(), unknown.next()) == ("SERVING", "SERVING", "SERVICE_UNKNOWN")
        os.kill(pid, signal.SIGKILL)
        assert (whole.next(), one.next()) == ("NOT_SERVING", "NOT_SERVING")
        assert (whole.next(), one.next()) == ("SERVING", "SERVING")
        whole.go()  # the others are told on
        supervised.client("stop")
        assert one.next() == "NOT_SERVING"
        assert watch(supervised).next() == "NOT_SERVING"
        supervised.client("start")
        assert one.next() == "SERVING"


def test_grpc_health_of_several_is_that_of_the_worst_and_each_has_its_own(directory, watch):
    socket_uri = f"unix://{directory}/kms-{{n}}.sock"
    command = [binary("mock-kms-provider"), f"--listen-addr={socket_uri}"]
    with Supervised(directory, command, ["--instances=2"], socket_uri=socket_uri) as two:
        two.healthy()
        whole, first, second = watch(two), *(watch(two, f"unix://{directory}/kms-{n}.sock") for n in (1, 2))
        assert [watcher.next() for watcher in (whole, first, second)] == ["SERVING"] * 3
        two.client("stop", "--instance=2")
        assert (whole.next(), second.next()) == ("NOT_SERVING", "NOT_SERVING")
        two.client("stop", "--instance=1")
        assert first.next() == "NOT_SERVING"
        two.client("start")
        assert [watcher.next() for watcher in (whole, first, second)] == ["SERVING"] * 3


def test_a_plugin_that_only_answers_badly_stays_serving_to_grpc_health(directory):
    with Supervised(directory, options=["--probe-interval=50ms"]) as supervised:
        supervised.healthy()
        fault = [binary("mock-kms-provider"), "fault", "add", "unhealthy", "--socket", supervised.endpoint]
        assert subprocess.run(fault, capture_output=True).returncode == 0
        supervised.program.wait_for_line("the plugin answers, but ")
        assert supervised.status()["healthy"] is False and check(supervised, "") == "SERVING"


def test_watchers_do_not_hold_up_the_end_nor_leave_descriptors(directory, watch):
    with Supervised(directory) as supervised:
        supervised.healthy()
        before = open_descriptors(supervised.program.pid)
        watchers = [watch(supervised) for _ in range(20)]
        assert [watcher.next() for watcher in watchers] == ["SERVING"] * 20
        assert open_descriptors(supervised.program.pid) >= before + 20
        left = watchers[10:]
        for watcher in watchers[:10]:
            watcher.go()
        until = time.monotonic() + DEADLINE
        while open_descriptors(supervised.program.pid) > before + len(left):
            assert time.monotonic() < until
            os.sched_yield()
        assert supervised.program.stop() == 0
        for watcher in left:
            told = [watcher.next()]
            while isinstance(told[-1], str):
                told.append(watcher.next())
            assert told[:-1] == ["NOT_SERVING"] and told[-1] in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
