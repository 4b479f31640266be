"""The supervisor owns the socket: what clients see of deaths, hangs, planned restarts and upgrades, with and without a
standby, and with plugins that cannot take a socket."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import grpc
import pytest

from support.kms_client import KmsClient
from support.processes import DEADLINE, Program, binary, stop_threads, wait_for_exit
from support.supervised import PLUGIN_WITH_ERRORS, PYTHON, Supervised, alive, script


class Load:
    """Threads that encrypt without a pause and keep what went wrong."""

    def __init__(self, endpoint, callers=16):
        self.failures = []
        self.calls = 0
        self._done = threading.Event()
        self._client = KmsClient(endpoint, timeout=10)
        self._threads = [threading.Thread(target=self._run) for _ in range(callers)]

    def _run(self):
        while not self._done.is_set():
            try:
                self._client.encrypt(b"x" * 32)
                self.calls += 1
            except grpc.RpcError as error:
                self.failures.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join()
        self._client.close()


def test_the_path_listens_without_a_gap_across_deaths(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        inode = os.stat(f"{directory}/kms.sock").st_ino
        for _ in range(5):
            os.kill(pid, signal.SIGKILL)
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(f"{directory}/kms.sock")  # never refused: it waits in the supervisor's queue
            connection.close()
            pid = supervised.healthy_after(pid)["pid"]
        assert os.stat(f"{directory}/kms.sock").st_ino == inode


def test_a_planned_restart_loses_no_call(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        with Load(supervised.endpoint) as load:
            for _ in range(20):
                result = supervised.client("restart")
                assert result.returncode == 0, result.stderr
                status = supervised.status()
                assert status["pid"] != pid
                pid = status["pid"]
        assert load.failures == []
        assert load.calls > 100
        status = supervised.healthy()
        assert status["restarts"] == 20
        assert {end["cause"] for end in status["exits"]} == {"a planned restart replaced it"}


def test_a_restart_to_a_broken_binary_keeps_the_old_process(directory):
    plugin = directory / "plugin"
    shutil.copy(binary("mock-kms-provider"), plugin)
    command = [str(plugin), "serve", f"--listen-addr=unix://{directory}/kms.sock"]
    with Supervised(directory, command) as supervised:
        pid = supervised.healthy()["pid"]
        broken = directory / "broken"
        broken.write_text("#!/bin/sh\necho 'no such key' >&2\nexit 3\n")
        broken.chmod(0o755)
        os.rename(broken, plugin)
        result = supervised.client("restart")
        assert result.returncode == 1
        assert "the new process exited with code 3; the old one stays" in result.stderr
        assert supervised.healthy()["pid"] == pid
        plugin.unlink()
        result = supervised.client("restart")
        assert result.returncode == 1 and "No such file or directory" in result.stderr
        assert supervised.healthy()["pid"] == pid


def test_restarts_asked_for_at_once_all_end_well(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        command = [binary("supervisor"), f"--control-socket={supervised.control}", "restart"]
        asking = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(5)]
        for asker in asking:
            with asker:
                assert asker.wait(60) == 0, asker.stderr.read()
        status = supervised.healthy()
        assert status["pid"] != pid and 1 <= status["restarts"] <= 5


def test_a_new_process_that_never_gets_ready_is_ended_and_the_old_one_stays(directory):
    plugin = directory / "plugin"
    shutil.copy(binary("mock-kms-provider"), plugin)
    command = [str(plugin), "serve", f"--listen-addr=unix://{directory}/kms.sock"]
    with Supervised(directory, command, ["--handover=require", "--startup-timeout=3s"]) as supervised:
        pid = supervised.healthy()["pid"]
        plugin.unlink()
        plugin.write_text("#!/bin/sh\nexec sleep 3600\n")
        plugin.chmod(0o755)
        result = supervised.client("restart")
        assert result.returncode == 1 and "did not get ready in time; the old one stays" in result.stderr
        assert supervised.healthy()["pid"] == pid


def test_a_restart_that_takes_longer_than_the_command_waits_goes_on_and_the_command_says_so(directory):
    plugin = directory / "plugin"
    shutil.copy(binary("mock-kms-provider"), plugin)
    command = [str(plugin), "serve", f"--listen-addr=unix://{directory}/kms.sock"]
    with Supervised(directory, command) as supervised:
        pid = supervised.healthy()["pid"]
        slow = directory / "slow"
        slow.write_text(f'#!/bin/sh\nread go < {directory}/go\nexec {binary("mock-kms-provider")} "$@"\n')
        slow.chmod(0o755)
        slow.rename(plugin)
        os.mkfifo(directory / "go")
        result = supervised.client("restart", "--timeout=2s")
        assert result.returncode == 1 and "restart: it is not done after 2s; it continues; see 'supervisor status'" in result.stderr
        assert supervised.healthy()["pid"] == pid
        (directory / "go").write_text("\n")
        assert supervised.healthy_after(pid)


def publish(plugin, marker):
    """Puts another build of the provider in place as the builder does: build-info.json first, then the binary."""
    new = plugin.with_name(".new")
    new.write_bytes(open(binary("mock-kms-provider"), "rb").read() + marker)  # what follows an ELF file is not loaded
    new.chmod(0o755)
    digest = hashlib.sha256(new.read_bytes()).hexdigest()
    info = plugin.with_name(".info")
    info.write_text(json.dumps({"commit": "c0ffee", "binary": {"sha256": digest}}))
    os.rename(info, plugin.with_name("build-info.json"))
    os.rename(new, plugin)
    return digest


def test_a_newly_published_binary_is_started_without_a_lost_call(directory):
    plugin = directory / "plugin"
    publish(plugin, b"first")
    command = [str(plugin), "serve", f"--listen-addr=unix://{directory}/kms.sock"]
    with Supervised(directory, command, ["--watch-binary"]) as supervised:
        pid = supervised.healthy()["pid"]
        with Load(supervised.endpoint) as load:
            digest = publish(plugin, b"second")
            supervised.program.wait_for_line("another binary was published")
            supervised.program.wait_for_line("the waiting process takes over")
            status = supervised.healthy()
        assert load.failures == []
        assert status["pid"] != pid and status["binary"]["sha256"] == digest
        pid = status["pid"]
        plugin.unlink()
        plugin.write_bytes(b"not what was built")
        supervised.program.wait_for_line("is not the one that build-info.json describes")
        assert supervised.healthy()["pid"] == pid


def wait_for_standby(supervised):
    supervised.program.wait_for_line("a process is ready to take over")
    return supervised.status()["standby"]["pid"]


def test_a_standby_takes_over_a_death_and_is_refilled(directory):
    with Supervised(directory, options=["--standby"]) as supervised:
        pid = supervised.healthy()["pid"]
        standby = wait_for_standby(supervised)
        assert standby != pid
        sealed = KmsClient(supervised.endpoint, timeout=DEADLINE).encrypt(b"from before")
        seen = len(supervised.program.stderr)
        os.kill(pid, signal.SIGKILL)
        status = supervised.healthy_after(pid)
        assert status["pid"] == standby
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            assert client.decrypt(sealed) == b"from before"
        supervised.program.wait_for_line("a process is ready to take over", start=seen)
        assert supervised.status()["standby"]["pid"] not in (pid, standby)


def test_a_standby_takes_over_a_hang_without_waiting_for_TERM(directory):
    options = ["--standby", "--probe-interval=200ms", "--hang-grace=1h"]
    with Supervised(directory, options=options) as supervised:
        pid = supervised.healthy()["pid"]
        standby = wait_for_standby(supervised)
        os.kill(pid, signal.SIGSTOP)
        supervised.program.wait_for_line("the waiting process takes over")
        assert supervised.healthy()["pid"] == standby
        wait_for_exit(pid)


def test_the_standby_does_not_serve_before_it_is_active(directory):
    with Supervised(directory, options=["--standby"]) as supervised:
        pid = supervised.healthy()["pid"]
        standby = wait_for_standby(supervised)
        stop_threads(pid)
        with KmsClient(supervised.endpoint, timeout=0.3) as client, pytest.raises(grpc.RpcError):
            client.status()  # the active process is stopped, and the standby is not asked to accept yet
        os.kill(pid, signal.SIGCONT)
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            assert client.status().healthz == "ok"
        assert alive(standby)


def test_the_death_of_a_standby_is_nobodys_outage(directory):
    with Supervised(directory, options=["--standby"]) as supervised:
        pid = supervised.healthy()["pid"]
        standby = wait_for_standby(supervised)
        seen = len(supervised.program.stderr)
        os.kill(standby, signal.SIGKILL)
        supervised.program.wait_for_line("a process is ready to take over", start=seen)
        status = supervised.healthy()
        assert status["pid"] == pid and status["restarts"] == 0


def test_stop_and_start_pause_on_purpose_and_status_says_who(directory):
    with Supervised(directory, options=["--standby"]) as supervised:
        pid = supervised.healthy()["pid"]
        standby = wait_for_standby(supervised)
        assert supervised.client("stop").returncode == 0
        assert not alive(pid) and not alive(standby)
        status = supervised.status()
        assert status["state"] == "PAUSED" and status["healthy"] is False
        assert re.fullmatch(r"root \(uid 0, pid \d+, supervisor\)", status["pausedBy"])
        assert "paused by root" in supervised.status_run().stdout
        assert supervised.client("restart").returncode == 1
        assert supervised.client("start").returncode == 0
        assert supervised.healthy()["pid"] != pid
        again = supervised.client("start")
        assert again.returncode == 1 and "is not paused" in again.stderr


def test_a_command_without_a_supervisor_exits_3(directory):
    result = subprocess.run([binary("supervisor"), f"--control-socket={directory}/c.sock", "restart"], capture_output=True, text=True)
    assert result.returncode == 3 and "start one with 'supervisor run'" in result.stderr


def put_socket_at(path):
    """Replaces what is at the path by a listening socket in one step."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen()
    os.rename(path + ".new", path)
    return listener


@pytest.mark.parametrize("act", ["removed", "replaced"])
def test_a_socket_that_someone_takes_away_is_bound_anew(directory, act):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        if act == "removed":
            os.unlink(f"{directory}/kms.sock")
        else:
            put_socket_at(f"{directory}/kms.sock").close()
        supervised.program.wait_for_line("the socket was removed or replaced by someone else")
        supervised.program.wait_for_line("bound the socket again")
        supervised.program.wait_for_line("the waiting process takes over")
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            assert client.status().healthz == "ok"
        status = supervised.healthy()
        assert status["pid"] != pid and status["socket"]["inPlace"] is True


def test_a_socket_whose_whole_directory_was_removed_is_bound_anew_when_it_is_back_and_watched_again(directory):
    sockets = directory / "sockets"
    sockets.mkdir()
    with Supervised(directory, socket_uri=f"unix://{sockets}/kms.sock") as supervised:
        supervised.healthy()
        while sockets.exists():  # the supervisor binds the socket anew meanwhile
            shutil.rmtree(sockets, ignore_errors=True)
        supervised.program.wait_for_line("the socket was removed or replaced by someone else")
        sockets.mkdir()
        supervised.program.wait_for_line("bound the socket again")
        mark = len(supervised.program.stderr)
        sockets.rename(directory / "elsewhere")
        sockets.mkdir()
        supervised.program.wait_for_line("bound the socket again", start=mark)
        mark = len(supervised.program.stderr)
        os.unlink(sockets / "kms.sock")
        supervised.program.wait_for_line("bound the socket again", start=mark)
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            assert client.status().healthz == "ok"


def test_a_path_that_a_live_server_took_is_reported_and_had_back_when_it_goes(directory):
    with Supervised(directory) as supervised:
        supervised.healthy()
        thief = put_socket_at(f"{directory}/kms.sock")
        supervised.program.wait_for_line("it is in use by pid")
        status = supervised.status()
        assert status["healthy"] is False and status["ready"] is True
        assert status["reason"].startswith("its socket was replaced by another, which clients reach instead; the supervisor binds it again ")
        thief.close()
        os.unlink(f"{directory}/kms.sock")
        supervised.program.wait_for_line("bound the socket again")
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            assert client.status().healthz == "ok"


def test_a_socket_removed_before_the_first_answer_is_bound_anew_and_is_not_taken_for_the_plugins_doing(directory):
    plugin = ["sh", "-c", f"""
        read go < {directory}/go
        exec {binary("mock-kms-provider")} --listen-addr=unix://{directory}/kms.sock"""]
    os.mkfifo(directory / "go")
    with Supervised(directory, plugin) as supervised:
        supervised.program.wait_for_line("launched the plugin")
        os.unlink(f"{directory}/kms.sock")
        (directory / "go").write_text("\n")
        supervised.program.wait_for_line("bound the socket again")
        (directory / "go").write_text("\n")  # for the process that takes it over
        supervised.program.wait_for_line("the waiting process takes over")
        status = supervised.healthy()
        assert status["handover"] == "handed down by the supervisor" and status["socket"]["inPlace"] is True
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            assert client.status().healthz == "ok"


def test_a_socket_that_was_bound_anew_is_served_as_soon_as_a_new_process_gets_ready(directory):
    plugin = directory / "plugin"
    shutil.copy(binary("mock-kms-provider"), plugin)
    with Supervised(directory, [str(plugin), f"--listen-addr=unix://{directory}/kms.sock"]) as supervised:
        pid = supervised.healthy()["pid"]
        plugin.rename(directory / "good")
        plugin.write_text("#!/bin/sh\nexit 3\n")
        plugin.chmod(0o755)
        os.unlink(f"{directory}/kms.sock")
        first = supervised.program.wait_for_line("nothing was restarted")
        supervised.program.wait_for_line("nothing was restarted", start=supervised.program.stderr.index(first) + 1)
        status = supervised.status()
        assert status["pid"] == pid and status["healthy"] is False and status["ready"] is True
        assert status["reason"] == "its socket was bound again, and the process that will serve it is not ready"
        (directory / "good").rename(plugin)
        assert supervised.healthy_after(pid)
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            assert client.status().healthz == "ok"


def test_a_socket_removed_at_the_death_of_a_standby_is_served_whoever_binds_it_anew(directory):
    with Supervised(directory, options=["--standby", "--backoff-max=1ms"]) as supervised:
        supervised.healthy()
        wait_for_standby(supervised)
        for _ in range(5):
            standby = supervised.status().get("standby", {}).get("pid")
            os.unlink(f"{directory}/kms.sock")
            if standby:
                os.kill(standby, signal.SIGKILL)  # the next standby's launch may see the missing socket first
            status = supervised.healthy()
            while not (status["healthy"] and status["socket"]["inPlace"]):
                status = supervised.healthy()
            with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
                assert client.status().healthz == "ok"


@pytest.mark.parametrize("act", ["removed", "replaced"])
def test_a_socket_that_the_plugin_bound_itself_is_missed_and_the_plugin_restarted(directory, act):
    with Supervised(directory, options=["--handover=off"]) as supervised:
        pid = supervised.healthy()["pid"]
        if act == "removed":
            os.unlink(f"{directory}/kms.sock")
        else:
            put_socket_at(f"{directory}/kms.sock").close()
        supervised.program.wait_for_line("the socket was removed or replaced by someone else")
        assert supervised.healthy_after(pid)["restarts"] == 1
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            assert client.status().healthz == "ok"


def test_a_link_to_a_socket_that_the_plugin_bound_itself_is_no_lost_socket(directory):
    os.symlink(directory / "real.sock", directory / "kms.sock")
    plugin = [binary("mock-kms-provider"), f"--listen-addr=unix://{directory}/real.sock"]
    with Supervised(directory, plugin, ["--handover=off", "--probe-interval=20ms"]) as supervised:
        pid = supervised.healthy()["pid"]
        mark = len(supervised.program.stderr)
        (directory / "another file").write_text("something has happened in the directory")
        for _ in range(10):  # each asks anew, and probes go on
            status = supervised.healthy()
        assert status["pid"] == pid and status["restarts"] == 0
        assert not any("removed or replaced" in line for line in supervised.program.stderr[mark:])


def test_a_plugin_that_answers_its_supervisor_and_accepts_nobody_is_ended(directory):
    """The provider gets another socket as `kms` than the one that clients connect to."""
    plugin = script(directory, f"""
        import os, socket
        aside = socket.socket(socket.AF_UNIX)
        aside.bind("\\0kms-aside-%d" % os.getpid())
        aside.listen()
        os.dup2(aside.fileno(), 3)
        os.execv("{binary("mock-kms-provider")}", ["mock-kms-provider", "--listen-addr=unix://{directory}/kms.sock"])
        """)
    with Supervised(directory, plugin, ["--probe-interval=100ms"]) as supervised:
        pid = supervised.healthy()["pid"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{directory}/kms.sock")
            supervised.program.wait_for_line("ending the plugin")
            status = supervised.healthy_after(pid)
        assert "no answer to 3 probes in a row" in status["exits"][0]["cause"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")
def test_without_inotify_a_removed_socket_is_noticed_within_about_a_second(directory):
    user = 64999
    directory.chmod(0o777)
    hoard = """
import ctypes, sys
while ctypes.CDLL(None).inotify_init() >= 0:
    pass
print("none left", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([PYTHON, "-c", hoard], user=user, extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as hoarder:
        assert hoarder.stdout.readline() == "none left\n"
        with Program(binary("supervisor"), f"--control-socket=unix://{directory}/control.sock", "run", "--probe-interval=1h",
                     f"--socket=unix://{directory}/kms.sock", "--", binary("mock-kms-provider"),
                     f"--listen-addr=unix://{directory}/kms.sock", user=user, extra_groups=[]) as supervisor:
            supervisor.wait_for_line("cannot watch directories by inotify; they are polled each second")
            supervisor.wait_for_line("the plugin is ready")
            os.unlink(f"{directory}/kms.sock")
            supervisor.wait_for_line("bound the socket again")
            supervisor.wait_for_line("the waiting process takes over")
            assert sum("inotify" in line for line in supervisor.stderr) == 1
            assert supervisor.stop() == 0
        hoarder.stdin.close()


def test_a_plugin_that_binds_its_own_socket_is_found_out(directory):
    healthz = directory / "healthz"
    healthz.write_text("ok")
    plugin = [*script(directory, PLUGIN_WITH_ERRORS), f"{directory}/kms.sock", str(healthz)]
    with Supervised(directory, plugin) as supervised:
        status = supervised.healthy()
        assert status["handover"].startswith("bound by the plugin, which did not take the supervisor's socket: it ")
        pid = status["pid"]
        os.kill(pid, signal.SIGKILL)
        again = supervised.healthy_after(pid)
        assert status["handover"] == again["handover"] + "; the supervisor offers its socket once more at the next start"
        pid = again["pid"]
        result = supervised.client("restart")  # the old way: one after the other
        assert result.returncode == 0, result.stderr
        assert supervised.healthy()["pid"] != pid


@pytest.mark.parametrize("first_end,second", [("exit 1", "bound by the plugin"), ("kill -9 $$", "handed down by the supervisor")])
def test_a_first_start_that_failed_for_another_reason_does_not_lose_the_handover(directory, first_end, second):
    plugin = ["sh", "-c", f"""
        if mkdir {directory}/first; then {first_end}; fi
        exec {binary("mock-kms-provider")} --listen-addr=unix://{directory}/kms.sock"""]
    with Supervised(directory, plugin) as supervised:
        status = supervised.healthy()
        assert status["restarts"] == 1 and status["handover"].startswith(second)
        os.kill(status["pid"], signal.SIGKILL)
        assert supervised.healthy_after(status["pid"])["handover"] == "handed down by the supervisor"


def test_require_never_falls_back(directory):
    healthz = directory / "healthz"
    healthz.write_text("ok")
    plugin = [*script(directory, PLUGIN_WITH_ERRORS), f"{directory}/kms.sock", str(healthz)]
    with Supervised(directory, plugin, ["--handover=require", "--backoff-initial=10ms", "--backoff-max=20ms"]) as supervised:
        supervised.program.wait_for_line("start=4")
        assert supervised.status()["handover"] == "handed down by the supervisor (not confirmed yet)"


def test_off_lets_the_plugin_bind(directory):
    with Supervised(directory, options=["--handover=off", "--standby"]) as supervised:
        status = supervised.healthy()
        assert status["handover"] == "bound by the plugin, as asked (--handover off)"
        assert "standby" not in status
        supervised.program.wait_for_line("--standby has no effect: two processes cannot be told apart")


def test_a_plugin_that_takes_the_listening_socket_alone_is_served_and_told_what_that_costs(directory):
    plugin = script(directory, f"""
        import os
        os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="kms")
        os.execv("{binary("mock-kms-provider")}", ["mock-kms-provider", "--listen-addr=unix://{directory}/kms.sock"])
        """)
    with Supervised(directory, plugin, ["--standby", "--probe-timeout=2s", "--backoff-max=1ms"]) as supervised:
        status = supervised.healthy()
        assert status["handover"] == "handed down by the supervisor; the plugin does not answer on the descriptor 'probe'"
        for _ in range(2):
            os.kill(status["pid"], signal.SIGKILL)
            status = supervised.healthy_after(status["pid"])
        assert float(status["probe"]["timeToReady"].rstrip("s")) < 2  # it waits no more for an answer on 'probe'
        assert "standby" not in status
        assert sum("--standby has no effect" in line for line in supervised.program.stderr) == 1


def test_a_plugin_that_only_binds_finds_its_path_free_at_its_start_and_after_a_kill(directory):
    """As Go's net.Listen does, it fails where the path exists, whether anyone listens there or not."""
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(f"{directory}/kms.sock")
    left_behind.close()
    plugin = ["sh", "-c", f"""
        [ -z "$LISTEN_FDS" ] || exit 2
        [ -e {directory}/kms.sock ] && echo "address already in use" >&2 && exit 1
        exec {binary("mock-kms-provider")} --listen-addr=unix://{directory}/kms.sock"""]
    with Supervised(directory, plugin, ["--handover=off"]) as supervised:
        status = supervised.healthy()
        assert status["restarts"] == 0
        os.kill(status["pid"], signal.SIGKILL)
        assert supervised.healthy_after(status["pid"])["restarts"] == 1


def test_an_abstract_socket_is_handed_down_too(directory):
    endpoint = f"unix:///@kms-handover-{os.getpid()}"
    with Supervised(directory, socket_uri=endpoint) as supervised:
        pid = supervised.healthy()["pid"]
        os.kill(pid, signal.SIGKILL)
        supervised.healthy_after(pid)
        with KmsClient(endpoint, timeout=DEADLINE) as client:
            assert client.status().healthz == "ok"


@pytest.mark.parametrize("options", [[], ["--standby"]])
def test_a_killed_supervisor_takes_its_children_along_and_the_next_one_takes_over(directory, options):
    with Supervised(directory, options=options) as supervised:
        pids = [supervised.healthy()["pid"]]
        if options:
            pids.append(wait_for_standby(supervised))
        sealed = KmsClient(supervised.endpoint, timeout=DEADLINE).encrypt(b"from before")
        supervised.program.send(signal.SIGKILL)
        supervised.program.process.wait(DEADLINE)
    with Supervised(directory) as supervised:  # the children may not be gone yet
        supervised.healthy()
        for pid in pids:
            wait_for_exit(pid)
        with KmsClient(supervised.endpoint, timeout=DEADLINE) as client:
            assert client.decrypt(sealed) == b"from before"


def test_fifty_deaths_leave_no_descriptor_and_no_process(directory):
    with Supervised(directory, options=["--backoff-initial=1ms", "--backoff-max=1ms"]) as supervised:
        pid = supervised.healthy()["pid"]

        def descriptors():
            return len(os.listdir(f"/proc/{supervised.program.pid}/fd"))

        for round in range(50):
            os.kill(pid, signal.SIGKILL)
            pid = supervised.healthy_after(pid)["pid"]
            if round == 9:
                before = descriptors()
        deadline = time.monotonic() + DEADLINE
        while descriptors() > before + 2:  # connections of the last moments may still be closing
            assert time.monotonic() < deadline
            supervised.healthy()
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(supervised.program.pid)], capture_output=True, text=True)
        assert children.stdout.split() == [str(pid)]
