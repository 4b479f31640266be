"""The supervisor as PID 1 would run it: real plugins, real deaths, hangs and signals, and what `status` says of each."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import grpc
import pytest

from support.kms_client import KmsClient
from proto import kms_v2_pb2 as v2
from support.processes import DEADLINE, Program, binary, run_provider, wait_for_exit
from support.supervised import PLUGIN_WITH_ERRORS, PYTHON, Supervised, alive, script

def decrypt_on_a_new_connection(endpoint, sealed):
    """Python's client notices that its connection has died only when it uses it."""
    with KmsClient(endpoint, timeout=DEADLINE) as client:
        return client.decrypt(sealed)


def test_a_plugin_becomes_healthy_and_status_shows_it(directory):
    with Supervised(directory) as supervised:
        status = supervised.healthy()
        assert status["state"] == "SERVING" and status["ready"] is True
        assert alive(status["pid"])
        assert status["answer"]["version"] == "v2" and status["answer"]["healthz"] == "ok"
        assert status["answer"]["keyId"].startswith("default/v1/")
        assert status["socket"].pop("selinux")
        assert status["socket"] == {
            "endpoint": supervised.endpoint, "present": True, "owner": "root:root", "mode": "0600", "inPlace": True,
            "inode": os.stat(f"{directory}/kms.sock").st_ino}
        assert status["handover"] == "handed down by the supervisor"
        assert len(status["binary"]["sha256"]) == 64
        assert status["restarts"] == 0 and status["exits"] == []
        text = supervised.status_run()
        assert text.returncode == 0 and text.stdout.startswith("healthy, serving since ")
        ready = supervised.status_run("--ready")
        assert ready.returncode == 0 and ready.stdout == f"ready: pid {status['pid']}\n"


def test_the_control_socket_is_its_users_alone(directory):
    with Supervised(directory) as supervised:
        supervised.healthy()
        assert stat.S_IMODE(os.stat(f"{directory}/control.sock").st_mode) == 0o600


def test_without_a_supervisor_status_exits_3_and_names_the_next_step(directory):
    def ask():
        return subprocess.run([binary("supervisor"), f"--control-socket={directory}/c.sock", "status"], capture_output=True, text=True)

    result = ask()
    assert result.returncode == 3 and result.stdout == ""
    assert "No such file or directory; start one with 'supervisor run'" in result.stderr
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(f"{directory}/c.sock")
    left_behind.close()
    result = ask()
    assert result.returncode == 3
    assert "is dead; start it again, or name its socket with --control-socket or SUPERVISOR_CONTROL_SOCKET" in result.stderr


def test_the_help_of_commands_that_ask_the_supervisor_has_the_option_that_names_its_socket():
    for command in ("run", "status", "events", "logs", "metrics", "report", "restart", "stop", "start", "check"):
        shown = subprocess.run([binary("supervisor"), command, "--help"], capture_output=True, text=True, check=True).stdout
        assert ("\n  --control-socket " in shown) == (command != "check"), command
        assert "Examples:" in shown


def test_status_waits_for_a_supervisor_that_comes_later(directory):
    waiting = subprocess.Popen(
        [binary("supervisor"), f"--control-socket={directory}/control.sock", "status", "--wait=20s", "--ready"],
        stdout=subprocess.PIPE, text=True)
    with Supervised(directory):
        assert waiting.communicate(timeout=DEADLINE)[0].startswith("ready: pid ")
        assert waiting.returncode == 0


def test_kill_9_under_load_costs_only_calls_in_flight_and_no_key(directory):
    with Supervised(directory) as supervised, KmsClient(supervised.endpoint, timeout=10) as client:
        before = supervised.healthy()
        sealed = client.encrypt(b"from before the kill")
        failures = []
        done = threading.Event()
        under_way = threading.Barrier(5)

        def load():
            client.encrypt(b"x" * 32)
            under_way.wait(DEADLINE)
            while not done.is_set():
                try:
                    client.encrypt(b"x" * 32)
                except grpc.RpcError as error:
                    failures.append(error.code())

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        under_way.wait(DEADLINE)
        os.kill(before["pid"], signal.SIGKILL)
        after = supervised.healthy_after(before["pid"])
        done.set()
        for thread in threads:
            thread.join()
        assert set(failures) <= {grpc.StatusCode.UNAVAILABLE}
        # Each thread's call in flight, and one more that Python's client sends on the connection before it sees it dead.
        assert len(failures) <= 2 * len(threads)
        assert decrypt_on_a_new_connection(supervised.endpoint, sealed) == b"from before the kill"
        assert after["answer"]["keyId"] == before["answer"]["keyId"]
        assert after["restarts"] == 1
        assert after["exits"][0]["status"] == "killed by SIGKILL (signal 9, Killed)"
        assert "did not send" in after["exits"][0]["cause"]
        assert any("mock-kms-provider: started" in line for line in after["exits"][0]["lastLines"])


def test_a_stopped_process_is_ended_and_replaced(directory):
    with Supervised(directory, options=["--probe-interval=200ms"]) as supervised:
        with KmsClient(supervised.endpoint, timeout=10) as client:
            before = supervised.healthy()
            sealed = client.encrypt(b"from before the hang")
            os.kill(before["pid"], signal.SIGSTOP)
            supervised.program.wait_for_line("ending the plugin")
            after = supervised.healthy_after(before["pid"])
            assert "no answer to 3 probes in a row" in after["exits"][0]["cause"]
            assert after["exits"][0]["status"].startswith("killed by SIGKILL")  # a stopped process does not hear TERM
            assert decrypt_on_a_new_connection(supervised.endpoint, sealed) == b"from before the hang"
        assert not alive(before["pid"])


@pytest.mark.parametrize("options", [[], ["--standby"]])
def test_a_process_that_is_stopped_under_load_costs_only_its_own_calls(directory, options):
    with Supervised(directory, options=["--probe-interval=200ms", *options]) as supervised:
        pid = supervised.healthy()["pid"]
        if options:
            supervised.program.wait_for_line("a process is ready to take over")
        failures, served_by = [], []
        done = threading.Event()
        under_way = threading.Barrier(5)

        def load():  # as the API server does: each call has 3 s, and one that failed is made again
            with KmsClient(supervised.endpoint, timeout=3) as client:
                client.encrypt(b"x" * 32)
                under_way.wait(DEADLINE)
                while not done.is_set():
                    try:
                        client.encrypt(b"x" * 32)
                        served_by.append(alive(pid))
                    except grpc.RpcError as error:
                        failures.append(error.code())

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        under_way.wait(DEADLINE)
        os.kill(pid, signal.SIGSTOP)
        try:
            after = supervised.healthy_after(pid)
            until = time.monotonic() + DEADLINE
            while served_by.count(False) < 100:
                assert time.monotonic() < until, (len(served_by), failures)
                done.wait(0.01)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert set(failures) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
        assert after["restarts"] == 1 and "no answer to 3 probes in a row" in after["exits"][0]["cause"]


def test_an_unresponsive_plugin_that_handles_TERM_needs_no_KILL(directory):
    plugin = script(directory, """
        import socket, sys, time
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[1]); listener.listen()
        print("listening, and mute", flush=True)
        while True: time.sleep(3600)
        """)
    options = ["--handover=off", "--startup-timeout=5s", "--hang-grace=10s"]
    with Supervised(directory, [*plugin, f"{directory}/kms.sock"], options) as supervised:
        supervised.program.wait_for_line("the plugin ended")
        end = supervised.status()["exits"][-1]  # the first of them; the next process finds the socket file and ends too
        assert end["status"].startswith("killed by SIGTERM")
        assert "no answer within 5s of its start" in end["cause"]
        assert end["lastLines"] == ["listening, and mute"]


def test_a_binary_that_never_listens_is_restarted_and_status_says_why(directory):
    with Supervised(directory, ["sleep", "3600"], ["--startup-timeout=300ms", "--probe-timeout=100ms"]) as supervised:
        supervised.program.wait_for_line("ending the plugin")
        supervised.program.wait_for_line("start=2")
        result = supervised.status_run()
        assert result.returncode == 1 and result.stdout.startswith("NOT HEALTHY")
        assert "check that it listens on the socket" in supervised.status()["exits"][0]["cause"]
        assert supervised.status_run("--ready").returncode == 1


def test_a_binary_that_exits_at_once_is_backed_off_with_its_last_lines(directory):
    plugin = script(directory, """
        import sys
        print("no seed: giving up", file=sys.stderr)
        sys.exit(7)
        """)
    options = ["--backoff-initial=20ms", "--backoff-max=80ms"]
    with Supervised(directory, plugin, options) as supervised:
        supervised.program.wait_for_line("start=6")
        status = supervised.status()
        assert status["restarts"] >= 5
        assert status["exits"][0]["status"] == "exited with code 7"
        assert status["exits"][0]["lastLines"] == ["no seed: giving up"]
        assert "ended by itself" in status["exits"][0]["cause"]
        assert len(status["exits"]) <= 8
        waits = [line for line in supervised.program.stderr if "the plugin ended" in line]
        assert 'next="restart at once"' in waits[0]
        assert 'next="restart in' in waits[1]


def test_a_plugin_that_dies_with_a_flood_of_last_lines_does_no_harm(directory):
    plugin = script(directory, """
        import os, sys
        for number in range(3000):
            print("goroutine", number, "of a long dump", flush=False)
        sys.stdout.flush()
        os._exit(3)
        """)
    options = ["--backoff-initial=1ms", "--backoff-max=1ms", "--max-restarts=9"]
    with Supervised(directory, plugin, options) as supervised:
        assert supervised.program.wait() == 1
        lines = supervised.program.stderr
        assert sum("launched the plugin" in line for line in lines) == 10
        assert sum("goroutine 2999 of a long dump" in line for line in lines) == 10  # none is lost at the end


def test_a_descendant_that_never_stops_writing_holds_nothing_up(directory):
    plugin = script(directory, """
        import os, subprocess, sys
        flood = subprocess.Popen(["yes"], start_new_session=True)
        print("flood", flood.pid, file=sys.stderr, flush=True)
        os._exit(1)
        """)
    with Supervised(directory, plugin, ["--backoff-initial=10ms", "--backoff-max=10ms"]) as supervised:
        supervised.program.wait_for_line("start=4")
        assert supervised.status()["restarts"] >= 3
        assert supervised.program.stop() == 0


def test_output_and_answers_that_are_not_utf8_are_shown_all_the_same(directory):
    plugin = script(directory, """
        import os, sys
        os.write(2, b"caf\\xe9 \\x1b[31m red\\n")
        sys.exit(3)
        """)
    with Supervised(directory, [*plugin, "caf\udce9"], ["--backoff-initial=1h", "--backoff-max=1h"]) as supervised:
        supervised.program.wait_for_line('next="restart in')
        status = supervised.status()
        assert status["exits"][0]["lastLines"] == ["caf\ufffd \x1b[31m red"]
        assert status["command"][-1] == "caf\ufffd"
        assert "caf\ufffd \\x1b[31m red" in supervised.status_run().stdout  # a terminal does not obey it


def test_too_many_deaths_end_the_supervisor_with_a_termination_message(directory):
    plugin = script(directory, """
        import sys
        print("no seed: giving up", file=sys.stderr)
        sys.exit(7)
        """)
    log = directory / "termination-log"
    log.write_text("")
    options = ["--backoff-initial=1ms", "--backoff-max=1ms", "--max-restarts=3", f"--termination-log={log}"]
    with Supervised(directory, plugin, options) as supervised:
        assert supervised.program.wait() == 1
        assert sum("launched the plugin" in line for line in supervised.program.stderr) == 4
    assert log.read_text() == (
        "supervisor: ended on its own; the plugin exited with code 7: it ended by itself; its last lines may say why\n"
        "| no seed: giving up\n")


def test_liveness_and_readiness_probes_read_no_file_of_the_plugin(directory):
    plugin = directory / "plugin"
    shutil.copy(binary("mock-kms-provider"), plugin)
    os.truncate(plugin, 40 * 1024**3)  # a hole, which takes longer to read than any probe may
    with Supervised(directory, [str(plugin), f"--listen-addr=unix://{directory}/kms.sock"]) as supervised:
        ready = supervised.status_run("--ready", "--wait=20s")
        assert ready.returncode == 0 and ready.stdout.startswith("ready: pid "), ready
        live = supervised.status_run("--live")
        assert live.returncode == 0 and live.stdout == f"live: pid {supervised.program.pid}\n", live
        assert supervised.status_run().returncode == 3  # it reads the file
        assert supervised.status_run("--live").returncode == 0
        supervised.program.process.kill()  # it would read on


def run_with_termination_log(directory, *options, environment=None):
    """Exit code, last line of stderr and termination message of a `supervisor run` that ends at once."""
    log = directory / "termination-log"
    log.write_text("")
    done = subprocess.run([binary("supervisor"), f"--control-socket=unix://{directory}/control.sock", "run", f"--termination-log={log}",
                           *options, "--", binary("mock-kms-provider")], capture_output=True, text=True, timeout=DEADLINE,
                          env={**os.environ, **(environment or {})})
    return done.returncode, done.stderr.splitlines()[-1], log.read_text()


def test_a_supervisor_that_cannot_start_leaves_the_cause_as_its_termination_message(directory):
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(f"{directory}/kms.sock")
        holder.listen()
        code, line, message = run_with_termination_log(directory, f"--socket=unix://{directory}/kms.sock")
    assert code == 1 and line.startswith(f"supervisor: cannot supervise a plugin on unix://{directory}/kms.sock: it is in use by ")
    assert message == line + "\n"
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        code, line, message = run_with_termination_log(directory, f"--socket=unix://{directory}/kms.sock", f"--metrics-addr={address}")
    assert code == 1 and line.startswith(f"supervisor: cannot listen on {address}: ")
    assert message == line + "\n"


@pytest.mark.parametrize("option, words", [
    ("--no-such-option", "no-such-option"), ("--probe-interval=soon", "--probe-interval"), ("--socket=nowhere", "--socket: "),
    ("--instances=2", "--socket: 2 instances cannot share")])
def test_so_does_one_with_a_wrong_option(directory, option, words):
    code, line, message = run_with_termination_log(directory, option)
    assert code == 2 and line.startswith("supervisor: ") and words in line
    assert message == line + "\n"


def test_a_wrong_option_of_another_command_is_no_termination_message(directory):
    log = directory / "termination-log"
    log.write_text("")
    for words in (["status", "--no-such-option"], ["--no-such-option"], []):
        done = subprocess.run([binary("supervisor"), *words], capture_output=True, text=True, timeout=DEADLINE,
                              env={**os.environ, "SUPERVISOR_TERMINATION_LOG": str(log)})
        assert done.returncode == 2
    assert log.read_text() == ""


def test_a_command_that_cannot_be_started_ends_with_its_cause(directory):
    with Supervised(directory, ["/no/such/plugin"]) as supervised:
        assert supervised.program.wait() == 1
        assert any("cannot start /no/such/plugin: No such file or directory" in line for line in supervised.program.stderr)
    assert os.listdir(directory) == []


@pytest.mark.parametrize("answer", ["the backend is away", "!FAILED_PRECONDITION", "!UNAVAILABLE", "!DEADLINE_EXCEEDED"])
def test_a_foreign_plugin_that_answers_badly_is_unhealthy_and_never_restarted(directory, answer):
    healthz = directory / "healthz"
    healthz.write_text("ok")
    command = [*script(directory, PLUGIN_WITH_ERRORS), f"{directory}/kms.sock", str(healthz)]
    options = ["--probe-interval=20ms", "--probe-timeout=2s", "--startup-timeout=20s"]
    with Supervised(directory, command, options) as supervised:
        before = supervised.healthy()
        healthz.write_text(answer)
        supervised.program.wait_for_line("the plugin answers, but")
        for _ in range(20):  # each asks anew, many more probes than the threshold of 3 pass
            status = supervised.status()
        assert status["healthy"] is False and status["ready"] is True
        assert answer.lstrip("!") in status["reason"]
        assert supervised.status_run().returncode == 1 and supervised.status_run("--ready").returncode == 0
        healthz.write_text("ok")
        supervised.program.wait_for_line("healthy again")
        assert supervised.healthy()["pid"] == before["pid"]
        assert supervised.status()["restarts"] == 0


def test_a_socket_left_by_a_dead_process_is_taken_over(directory):
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(f"{directory}/kms.sock")
    left_behind.close()
    control = socket.socket(socket.AF_UNIX)
    control.bind(f"{directory}/control.sock")
    control.close()
    with Supervised(directory) as supervised:
        supervised.healthy()


def test_a_socket_whose_holder_is_dying_is_waited_for(directory):
    """As after a SIGKILL of the supervisor: the process that listened is gone, and a child of it has not ended yet."""
    holder = subprocess.run([PYTHON, "-c", """
import os, signal, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
child = os.fork()
if child == 0:
    os.close(1)
    signal.alarm(1)
    signal.pause()
print(child)
""", f"{directory}/kms.sock"], stdout=subprocess.PIPE, text=True, check=True)
    with Supervised(directory) as supervised:
        supervised.healthy()
        assert not alive(int(holder.stdout))


def test_a_second_supervisor_is_refused_on_either_socket_and_does_no_harm(directory):
    with Supervised(directory) as first:
        status = first.healthy()
        with Supervised(directory) as same_control:
            assert same_control.program.wait() == 1
            assert f"in use by pid {first.program.pid} (supervisor)" in same_control.program.stderr[-1]
        other = directory / "other"
        other.mkdir()
        with Supervised(other, socket_uri=first.endpoint) as same_socket:
            assert same_socket.program.wait() == 1
            assert f"in use by pid {first.program.pid} (supervisor)" in same_socket.program.stderr[-1]
        assert first.healthy()["pid"] == status["pid"]


def assert_nothing_is_left(directory, supervised, *pids):
    for pid in pids:
        assert not alive(pid)
    assert not os.path.exists(f"{directory}/kms.sock")
    assert not os.path.exists(f"{directory}/control.sock")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_the_plugin_and_removes_both_sockets(directory, number):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        assert supervised.program.stop(number) == 0
        assert_nothing_is_left(directory, supervised, pid)


def test_TERM_during_start_ends_cleanly(directory):
    with Supervised(directory, ["sleep", "3600"]) as supervised:
        supervised.program.wait_for_line("launched the plugin")
        pid = supervised.status()["pid"]
        assert supervised.program.stop() == 0
        assert_nothing_is_left(directory, supervised, pid)


def test_TERM_during_back_off_ends_at_once(directory):
    with Supervised(directory, ["false"], ["--backoff-initial=1h", "--backoff-max=1h"]) as supervised:
        supervised.program.wait_for_line('next="restart in')
        assert supervised.status()["state"] == "BACKING_OFF"
        assert supervised.program.stop() == 0
        assert_nothing_is_left(directory, supervised)


def test_TERM_during_a_probe_ends_cleanly(directory):
    plugin = script(directory, """
        import signal, socket, sys
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[1]); listener.listen()
        connection, _ = listener.accept()
        connection.recv(1)
        print("a probe has arrived", flush=True)
        signal.pause()
        """)
    options = ["--handover=off", "--probe-timeout=1h", "--startup-timeout=1h"]
    for _ in range(10):  # the given-up call ends while the supervisor does, sooner or later
        with Supervised(directory, [*plugin, f"{directory}/kms.sock"], options) as supervised:
            supervised.program.wait_for_line("a probe has arrived")
            pid = supervised.status()["pid"]
            assert supervised.program.stop() == 0
            assert_nothing_is_left(directory, supervised, pid)


def test_a_plugin_that_ignores_TERM_is_killed_after_the_grace_and_the_exit_code_says_so(directory):
    plugin = script(directory, """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        while True: signal.pause()
        """)
    with Supervised(directory, plugin, ["--stop-grace=300ms"]) as supervised:
        supervised.program.wait_for_line("deaf")
        pid = supervised.status()["pid"]
        assert supervised.program.stop() == 1
        assert not alive(pid)


def test_orphans_are_reaped_and_do_not_outlive_the_plugin(directory):
    plugin = script(directory, """
        import os, signal, sys
        if os.fork() == 0:              # a child ...
            if os.fork() == 0:          # ... whose own child is orphaned and ends
                os._exit(3)
            grandchild = os.fork()      # ... and one that is orphaned and stays
            if grandchild == 0:
                signal.pause()
            print("orphan", grandchild, flush=True)
            os._exit(0)
        signal.pause()
        """)
    with Supervised(directory, plugin, ["--startup-timeout=1h"]) as supervised:
        orphan = int(supervised.program.wait_for_line("orphan ").split()[1])
        assert 'status="exited with code 3"' in supervised.program.wait_for_line("reaped an orphan")
        children = subprocess.run(["ps", "-o", "stat=", "--ppid", str(supervised.program.pid)], capture_output=True, text=True)
        assert "Z" not in children.stdout
        assert alive(orphan)
        assert supervised.program.stop() == 0
        wait_for_exit(orphan)


def provider_command(directory):
    return f"{binary('mock-kms-provider')} --listen-addr=unix://{directory}/kms.sock"


def test_a_helper_that_left_the_plugins_session_is_left_alone(directory):
    helper = f"(setsid sh -c 'sleep 600 & echo helper $! >&2' &)"
    with Supervised(directory, ["/bin/sh", "-c", f"{helper}; exec {provider_command(directory)}"]) as supervised:
        pid = int(supervised.program.wait_for_line("helper ").split()[-1])
        supervised.program.wait_for_line("reaped an orphan")
        supervised.healthy()
        assert alive(pid)
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", ["stop", "restart"])
def test_a_plugin_behind_a_shell_finishes_its_calls(directory, end):
    """The shell dies of TERM at once; the plugin has it too, and time to answer."""
    command = ["/bin/sh", "-c", f"{provider_command(directory)} --log-level=debug; echo bye"]
    with Supervised(directory, command, ["--handover=off"]) as supervised:
        supervised.healthy()
        added = run_provider("fault", "add", "latency", "--method", "encrypt", "--latency", "1s", "--socket", supervised.endpoint)
        assert added.returncode == 0, added.stderr
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            call = client.stub.Encrypt.future(v2.EncryptRequest(plaintext=b"secret", uid="in flight"), timeout=DEADLINE,
                                              wait_for_ready=True)
            supervised.program.wait_for_line("a fault applies to a call")
            if end == "stop":
                supervised.program.send(signal.SIGTERM)
            else:
                assert supervised.client("restart").returncode == 0
            assert call.result().ciphertext
        if end == "stop":
            assert supervised.program.wait() == 0


def test_a_group_that_ignores_TERM_behind_its_shell_is_killed_after_the_grace(directory):
    command = ["/bin/sh", "-c", "sh -c 'trap \"\" TERM; echo deaf $$; while :; do sleep 1; done'; echo bye"]
    with Supervised(directory, command, ["--handover=off", "--startup-timeout=1h", "--stop-grace=300ms"]) as supervised:
        pid = int(supervised.program.wait_for_line("deaf ").split()[-1])
        assert supervised.program.stop() == 1
        wait_for_exit(pid)


@pytest.mark.parametrize("instances", [1, 3])
def test_a_termination_message_has_every_cause_in_4096_bytes(directory, instances):
    log = directory / "termination-log"
    log.write_text("")
    flood = "for i in $(seq 20); do printf '%0300d \\033[31m \\351\\n' $i; done; exit {n}"
    socket_uri = f"unix://{directory}/kms-{{n}}.sock"
    options = ["--max-restarts=1", "--backoff-initial=1ms", f"--termination-log={log}", f"--instances={instances}"]
    with Supervised(directory, ["/bin/sh", "-c", flood], options, socket_uri=socket_uri) as supervised:
        assert supervised.program.wait() == 1
    written = log.read_bytes()
    assert 2000 < len(written) <= 4096
    text = written.decode()
    assert "\033" not in text
    for number in range(1, instances + 1):
        assert f"exited with code {number}:" in text


def test_a_termination_message_names_a_hundred_instances_that_failed_alike(directory):
    log = directory / "termination-log"
    log.write_text("")
    options = ["--max-restarts=1", "--backoff-initial=1ms", f"--termination-log={log}", "--instances=100"]
    with Supervised(directory, ["/bin/sh", "-c", "echo no seed; exit 3"], options, socket_uri=f"unix://{directory}/kms-{{n}}.sock") as supervised:
        assert supervised.program.wait(deadline=3 * DEADLINE) == 1
    assert log.read_text() == (
        "supervisor: ended on its own; instances 1-100: the plugin exited with code 3: it ended by itself; its last lines may say why\n"
        "| no seed\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose the user")
@pytest.mark.parametrize("user, shown", [("nobody", "/nonexistent nobody nobody"), ("54321", "/ ")])
def test_the_plugins_user_has_its_own_home_and_name(directory, user, shown):
    if user == "nobody":
        shown = f"{pwd.getpwnam('nobody').pw_dir} nobody nobody"
    command = ["/bin/sh", "-c", 'echo "user: $HOME $USER $LOGNAME"; sleep 1000']
    with Supervised(directory, command, [f"--child-user={user}", "--startup-timeout=1h"]) as supervised:
        assert supervised.program.wait_for_line("user:").split("user: ")[1].strip() == shown.strip()


def test_an_outage_keeps_its_cause_however_many_starts_fail(directory):
    plugin = directory / "plugin"
    shutil.copy(binary("mock-kms-provider"), plugin)
    command = [str(plugin), f"--listen-addr=unix://{directory}/kms.sock"]
    with Supervised(directory, command, ["--backoff-initial=1ms", "--backoff-max=2ms"]) as supervised:
        pid = supervised.healthy()["pid"]
        plugin.rename(directory / "away")
        os.kill(pid, signal.SIGKILL)
        supervised.program.wait_for_line("start=1")
        for _ in range(20):  # far more ends than a status shows
            mark = len(supervised.program.stderr)
            supervised.program.wait_for_line("was not started", start=mark)
        (directory / "away").rename(plugin)
        assert "a SIGKILL that the supervisor did not send" in supervised.program.wait_for_line("calls are answered again")


def test_a_plugin_that_becomes_a_daemon_is_told_to_stay_in_the_foreground(directory):
    command = ["/bin/sh", "-c", f"setsid {provider_command(directory)} & echo daemon $!; sleep 0.2; exit 0"]
    with Supervised(directory, command, ["--backoff-initial=1h", "--backoff-max=1h"]) as supervised:
        daemon = int(supervised.program.wait_for_line("daemon ").split()[-1])
        assert "must stay in the foreground" in supervised.program.wait_for_line("the plugin ended")
        with contextlib.suppress(ProcessLookupError):
            os.kill(daemon, signal.SIGKILL)


def test_the_plugin_inherits_no_descriptor_and_no_blocked_signal(directory):
    plugin = script(directory, """
        import os, signal
        fds = [fd for fd in range(256) if os.path.exists(f"/proc/self/fd/{fd}")]
        blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        print("inherited", fds, blocked, flush=True)
        print("listening on", os.environ.get("LISTEN_FDS"), os.environ.get("LISTEN_FDNAMES"),
              os.environ.get("LISTEN_PID") == str(os.getpid()), flush=True)
        signal.pause()
        """)
    with Supervised(directory, plugin, ["--handover=off"], env={"LISTEN_FDS": "7"}) as supervised:
        assert supervised.program.wait_for_line("inherited").endswith("inherited [0, 1, 2] []")
        assert supervised.program.wait_for_line("listening on").endswith("listening on None None False")
    with Supervised(directory, plugin) as supervised:
        assert supervised.program.wait_for_line("inherited").endswith("inherited [0, 1, 2, 3, 4, 5] []")
        assert supervised.program.wait_for_line("listening on").endswith("listening on 3 kms:probe:activate True")


def test_build_info_is_shown_and_a_changed_binary_is_called_out(directory):
    plugin = directory / "plugin"
    plugin.write_bytes(open(binary("mock-kms-provider"), "rb").read())
    plugin.chmod(0o755)
    digest = subprocess.run(["sha256sum", plugin], capture_output=True, text=True).stdout.split()[0]
    info = {"repository": "/some/where.git", "ref": "main", "commit": "c0ffee" * 6 + "c0ff", "binary": {"sha256": digest}}
    (directory / "build-info.json").write_text(json.dumps(info))
    command = [str(plugin), "serve", f"--listen-addr=unix://{directory}/kms.sock"]
    with Supervised(directory, command) as supervised:
        status = supervised.healthy()
        assert status["binary"]["sha256"] == digest and status["binary"]["matchesBuild"] is True
        assert "built from commit c0ffee" in supervised.status_run().stdout
        (directory / "build-info.json").write_text(json.dumps({**info, "binary": {"sha256": "0" * 64}}))
        assert "THE FILE IS NOT THE ONE THAT WAS BUILT" in supervised.status_run().stdout
        (directory / "build-info.json").write_text("{")
        assert "cannot read" in supervised.status()["binary"]["problem"]


def test_a_binary_that_was_replaced_under_its_process_is_called_out_until_a_restart_takes_it(directory):
    plugin = directory / "plugin"
    shutil.copy(binary("mock-kms-provider"), plugin)
    with Supervised(directory, [str(plugin), f"--listen-addr=unix://{directory}/kms.sock"]) as supervised:
        assert supervised.healthy()["binary"]["replaced"] is False
        plugin.chmod(0o700)
        assert supervised.status()["binary"]["replaced"] is False
        shutil.copy(plugin, directory / "newer")
        os.rename(directory / "newer", plugin)
        assert supervised.status()["binary"]["replaced"] is True
        assert "REPLACED since the process started; 'supervisor restart' starts the new file" in supervised.status_run().stdout
        plugin.rename(directory / "away")
        gone = supervised.status()["binary"]
        assert gone["replaced"] is True and "No such file" in gone["problem"]
        (directory / "away").rename(plugin)
        assert supervised.client("restart").returncode == 0
        assert supervised.status()["binary"]["replaced"] is False


@pytest.mark.parametrize("options", [[], ["--handover=off"]])
def test_the_plugin_learns_its_address_from_the_supervisor(directory, options):
    environment = {name: value for name, value in os.environ.items() if name != "MOCK_KMS_LISTEN_ADDR"}
    with Supervised(directory, [binary("mock-kms-provider")], options, env={**environment, "MOCK_KMS_LISTEN_ADDR": ""}) as supervised:
        status = supervised.healthy()
        assert status["pluginControl"] == f"{supervised.endpoint}.control"
        rotated = subprocess.run([binary("mock-kms-provider"), "rotate", "--socket", supervised.endpoint], capture_output=True, text=True)
        assert rotated.returncode == 0, rotated.stderr
        assert f"started endpoint={supervised.endpoint}" in supervised.program.wait_for_line("started endpoint=")


def test_the_control_socket_lies_beside_another_listen_addr(directory):
    elsewhere = f"unix://{directory}/elsewhere.sock"
    with Supervised(directory, [binary("mock-kms-provider"), f"--listen-addr={elsewhere}"]) as supervised:
        assert supervised.healthy()["pluginControl"] == f"{elsewhere}.control"


def test_an_outage_names_the_process_that_answers_and_the_one_that_ended(directory):
    with Supervised(directory) as supervised:
        old = supervised.healthy()["pid"]
        os.kill(old, signal.SIGKILL)
        new = supervised.healthy_after(old)["pid"]
        event = next(event for event in map(json.loads, supervised.client("events", "-o", "json").stdout.splitlines()) if event["kind"] == "OUTAGE_OVER")
        assert (event["pid"], event["details"]["outage-of"]) == (new, str(old))


def test_while_starting_the_reason_names_the_end_before(directory):
    with Supervised(directory, ["/bin/sh", "-c", f"test -e {directory}/second && exec sleep 600; touch {directory}/second; exit 7"], ["--backoff-initial=1ms"]) as supervised:
        supervised.program.wait_for_line("start=2")
        assert supervised.status()["reason"].endswith("; the process before it exited with code 7")


def test_json_logs_are_one_object_a_line(directory):
    with Supervised(directory, ["true"], ["--backoff-initial=1h", "--backoff-max=1h"], env={"SUPERVISOR_LOG_FORMAT": "json"}) as supervised:
        supervised.program.wait_for_line("restart in")
        lines = [json.loads(line) for line in supervised.program.stderr]
        assert {"time", "level", "program", "message"} <= set(lines[0])
        assert next(line for line in lines if line["message"] == "the plugin ended")["status"] == "exited with code 0"


@pytest.mark.parametrize("arguments,reason", [
    (["run"], "command is missing: the plugin and its arguments, after '--'"),
    (["run", "--socket=tcp://127.0.0.1:1", "--", "true"], "is not a Unix socket address"),
    (["run", "--probe-intervall=1s", "--", "true"], "did you mean '--probe-interval'?"),
    (["restart", "--probe-interval=1s"], "unknown option '--probe-interval' (see 'supervisor restart --help')"),
    (["run", "--probe-interval=soon", "--", "true"], "such as 3s"),
    (["statsu"], "did you mean 'status'?"),
    (["events", "--tail", "-1"], "--tail: '-1' is not a whole number of 0 or more"),
    (["logs", "--tail", "abc"], "--tail: 'abc' is not a whole number of 0 or more"),
    (["run", "--max-restarts=-1", "--", "true"], "--max-restarts: '-1' is not a whole number of 0 or more"),
    (["run", "--child-memory=-1", "--", "true"], "--child-memory: '-1' is negative"),
    (["status", "--instance", "-1"], "--instance: '-1' is not a whole number of 0 or more"),
    (["status", "--control-socket", "foo"], "use unix:///absolute/path or unix:///@abstract-name"),
    (["status", "-o", "yaml"], "yaml"),
    (["status", "--instance=1", "--instance=2"], "--instance can be given only once"),
    (["check"], "endpoint is missing: the plugin: unix:///path"),
    (["rotate"], "unexpected argument 'rotate'; it is a command of mock-kms-provider: 'mock-kms-provider rotate'"),
    (["status", "--socket", "unix:///x"], "unknown option '--socket'; did you mean '--control-socket'?"),
    (["report", "/nowhere"], "name a directory with NODE/POD/status.json"),
])
def test_bad_usage_is_one_line_and_exit_code_2(arguments, reason):
    result = subprocess.run([binary("supervisor"), *arguments], capture_output=True, text=True)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and reason in result.stderr
