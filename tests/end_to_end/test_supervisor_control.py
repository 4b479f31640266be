"""The supervisor's commands, metrics and messages to a service manager, and the plugin's user."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.request
from pathlib import Path

import grpc
import pytest

from support.kms_client import KmsClient
from support.processes import DEADLINE, SANITIZED, Program, binary, wait_for_exit
from support.supervised import PLUGIN_WITH_ERRORS, Supervised, alive, script


def events(supervised):
    return [json.loads(line) for line in supervised.client("events", "-o", "json").stdout.splitlines()]


@contextlib.contextmanager
def following(supervised, *command):
    """The lines of `supervisor COMMAND... --follow`, which is ended by a deadline at the latest."""
    with subprocess.Popen([binary("supervisor"), f"--control-socket={supervised.control}", *command, "--follow"],
                          stdout=subprocess.PIPE, text=True) as program:
        deadline = threading.Timer(DEADLINE * 2, program.kill)
        deadline.start()
        try:
            yield program.stdout
        finally:
            deadline.cancel()
            program.kill()


def test_events_tell_what_happened_why_and_who_asked(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        os.kill(pid, signal.SIGKILL)
        second = supervised.healthy_after(pid)["pid"]
        with subprocess.Popen([binary("supervisor"), f"--control-socket={supervised.control}", "restart"]) as asking:
            asked_by = asking.pid
        happened = events(supervised)
        kinds = [event["kind"] for event in happened]
        assert kinds[:5] == ["LAUNCHED", "READY", "ENDED", "LAUNCHED", "READY"]
        assert [int(event["number"]) for event in happened] == list(range(1, len(happened) + 1))
        ended = happened[2]["details"]
        assert happened[2]["pid"] == pid and ended["status"] == "killed by SIGKILL (signal 9, Killed)"
        assert "SIGKILL that the supervisor did not send" in ended["cause"] and ended["next"] == "restart at once"
        over = next(event for event in happened if event["kind"] == "OUTAGE_OVER")
        assert over["pid"] == second and over["details"]["outage-of"] == str(pid)
        assert re.fullmatch(r"\d+\.\d m?s", over["details"]["outage"])
        asked = next(event for event in happened if event["kind"] == "ASKED_TO_RESTART")["details"]
        assert asked["by"] == f"root (uid 0, pid {asked_by}, supervisor)"
        assert next(event for event in happened if event["kind"] == "TAKEN_OVER")["pid"] != second
        outage = next(end for end in supervised.status()["exits"] if end["pid"] == pid)["outage"]
        assert 0 < float(outage.rstrip("s")) < 20


def test_events_and_logs_are_followed_as_they_come(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        with following(supervised, "events", "--since", "1h") as followed, following(supervised, "logs", "--tail", "1") as log:
            assert "launched the plugin" in followed.readline()
            assert f" {pid}: " in log.readline()
            os.kill(pid, signal.SIGTERM)
            new = supervised.healthy_after(pid)["pid"]
            assert any(f"pid={new}" in line and "ready" in line for line in followed)
            assert any(re.match(rf"\S+Z {new}: .*started endpoint=", line) for line in log)


def test_events_and_logs_are_cut_by_time_and_number(directory):
    with Supervised(directory) as supervised:
        supervised.healthy()
        for command in ("events", "logs"):
            lines = supervised.client(command).stdout.splitlines()
            assert len(lines) >= 2
            assert supervised.client(command, "--tail", "1").stdout.splitlines() == lines[-1:]
            assert supervised.client(command, "--since", "1h").stdout.splitlines() == lines
            assert supervised.client(command, "--since", "1ns").stdout == ""
            with following(supervised, command) as followed:
                assert supervised.client("stop").returncode == 0
                assert not any(line.rstrip("\n") in lines for line in [followed.readline()])
            assert supervised.client("start").returncode == 0
            supervised.healthy()


def test_a_followed_status_misses_no_outage(directory):
    """The next look at the status comes when the next process has served for long."""
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        with following(supervised, "status") as followed:
            assert "healthy: pid" in followed.readline()
            os.kill(pid, signal.SIGKILL)
            lines = [followed.readline() for _ in range(2)]
        assert f"the plugin ended pid={pid} " in lines[0] and "SIGKILL" in lines[0]
        assert "calls are answered again pid=" in lines[1] and f" outage-of={pid}" in lines[1]


@pytest.mark.parametrize("option", ["--follow", "--watch"])
def test_a_followed_status_is_a_line_for_each_change(directory, option):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        with following(supervised, "status", option) as followed:
            assert re.match(rf"\S+Z healthy: pid {pid},", followed.readline())
            os.kill(pid, signal.SIGKILL)
            new = supervised.healthy_after(pid)["pid"]
            assert any(f"healthy: pid {new}," in line for line in followed)


def test_a_followed_status_as_json_is_a_document_a_line(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        with following(supervised, "status", "-o", "json") as followed:
            for _ in range(2):
                status = json.loads(followed.readline())
                assert status["healthy"] is True and status["pid"] == pid


def test_an_end_that_a_fault_made_is_told_from_a_real_one(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        fault = [binary("mock-kms-provider"), "fault", "add", "crash", "--method=encrypt", f"--socket={supervised.endpoint}"]
        added = subprocess.run(fault, capture_output=True, text=True)
        assert added.returncode == 0, added.stderr
        with KmsClient(supervised.endpoint) as client, pytest.raises(grpc.RpcError):
            client.encrypt(b"the last one")
        end = supervised.healthy_after(pid)["exits"][0]
        assert end["injected"] is True and end["askedFor"] is False
        assert "(INJECTED on purpose by mock-kms-provider)" in supervised.status_run().stdout
        assert supervised.client("restart").returncode == 0
        supervised.program.wait_for_line("a planned restart replaced it")
        end = supervised.status()["exits"][0]
        assert end["injected"] is False and end["askedFor"] is True


def test_output_as_json_wraps_each_line_with_its_time_and_process(directory):
    with Supervised(directory, ["sh", "-c", 'echo "say \\"it\\""; exec sleep 60'], ["--child-output=json"]) as supervised:
        line = supervised.program.wait_for_line('"line"')
        shown = json.loads(line)
        assert shown["line"] == 'say "it"' and alive(shown["pid"]) and shown["instance"] == 0
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown["time"])


def test_HUP_restarts_the_plugin_as_planned_and_USR1_logs_the_status(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        supervised.program.send(signal.SIGUSR1)
        supervised.program.wait_for_line("status: healthy, serving since ")
        with KmsClient(supervised.endpoint) as client:
            sealed = client.encrypt(b"secret")
            supervised.program.send(signal.SIGHUP)
            assert supervised.healthy_after(pid)["exits"][0]["cause"] == "a planned restart replaced it"
        with KmsClient(supervised.endpoint) as client:  # Python's notices a closed connection only when it uses it
            assert client.decrypt(sealed) == b"secret"


def test_a_supervisor_that_has_given_up_nothing_is_live_while_its_plugin_is_broken(directory):
    with Supervised(directory, ["sh", "-c", "exit 3"]) as supervised:
        supervised.program.wait_for_line("the plugin ended")
        assert supervised.status_run("--ready").returncode == 1
        live = supervised.status_run("--live")
        assert live.returncode == 0 and live.stdout == f"live: pid {supervised.program.pid}\n"
    assert supervised.status_run("--live").returncode == 3


DEEP_PLUGIN = PLUGIN_WITH_ERRORS.replace("""
    server = grpc""", """
        def Encrypt(self, request, context):
            how = open(sys.argv[2] + ".encrypt").read()
            if how == "fail":
                context.abort(grpc.StatusCode.INTERNAL, "no entropy")
            return v2.EncryptResponse(ciphertext=b"sealed " + request.plaintext, key_id=how)
        def Decrypt(self, request, context):
            return v2.DecryptResponse(plaintext=request.ciphertext[7:])
    server = grpc""")


@pytest.fixture
def deep_plugin(directory):
    (directory / "healthz").write_text("ok")

    def encrypt(how):
        draft = directory / "draft"
        draft.write_text(how)
        os.rename(draft, directory / "healthz.encrypt")

    encrypt("key-1")
    command = [*script(directory, DEEP_PLUGIN), f"{directory}/kms.sock", str(directory / "healthz")]
    return command, encrypt


def wait_for_event(supervised, wanted):
    with following(supervised, "events", "-ojson", "--since", "1h") as followed:
        for line in followed:
            if wanted(json.loads(line)):
                return json.loads(line)
    raise AssertionError("the supervisor has ended, or nothing such has happened")


def test_a_deep_probe_finds_an_Encrypt_that_fails_or_names_another_key_and_restarts_nothing(directory, deep_plugin):
    command, encrypt = deep_plugin
    options = ["--handover=off", "--deep-probe-every=1", "--probe-interval=50ms"]
    with Supervised(directory, command, options) as supervised:
        pid = supervised.healthy()["pid"]
        encrypt("key-2")
        wait_for_event(supervised, lambda e: "Encrypt names key_id 'key-2' and Status 'key-1' (rule 14)" in e["text"])
        status = supervised.status()
        assert status["healthy"] is False and status["ready"] is True
        assert "rule 14" in status["reason"] and status["deepProbe"]["keyId"] == "key-2"
        encrypt("fail")
        wait_for_event(supervised, lambda e: "INTERNAL: no entropy" in e["text"])
        encrypt("key-1")
        assert supervised.healthy()["deepProbe"]["problem"] == ""
        assert supervised.status()["pid"] == pid and supervised.status()["restarts"] == 0


def test_an_unhealthy_plugin_is_restarted_where_that_is_asked_for(directory, deep_plugin):
    command, encrypt = deep_plugin
    options = ["--handover=off", "--deep-probe-every=1", "--probe-interval=50ms", "--restart-on=unhealthy"]
    with Supervised(directory, command, options) as supervised:
        pid = supervised.healthy()["pid"]
        encrypt("fail")
        supervised.program.wait_for_line(f"the plugin ended pid={pid}")
        encrypt("key-1")
        status = supervised.healthy()
        assert status["pid"] != pid
        assert "--restart-on unhealthy" in status["exits"][-1]["cause"]


def test_a_rotation_and_a_slow_answer_are_reported(directory):
    with Supervised(directory, options=["--probe-interval=50ms", "--slow-after=100ms"]) as supervised:
        pid = supervised.healthy()["pid"]
        provider = [binary("mock-kms-provider"), "rotate", f"--control-socket={supervised.endpoint}.control"]
        assert subprocess.run(provider, capture_output=True).returncode == 0
        changed = wait_for_event(supervised, lambda e: e["kind"] == "KEY_CHANGED")["details"]
        assert changed["from"].startswith("default/v1/") and changed["to"].startswith("default/v2/")
        assert supervised.status()["answer"]["previousKeyId"] == changed["from"]
        provider = [binary("mock-kms-provider"), "fault", "add", f"--control-socket={supervised.endpoint}.control"]
        added = subprocess.run([*provider, "latency", "--method=status", "--latency=300ms", "--name=slow-status"], capture_output=True, text=True)
        assert added.returncode == 0, added.stderr
        slow = wait_for_event(supervised, lambda e: e["kind"] == "SLOW")
        assert slow["pid"] == pid and re.fullmatch(r"\d{3}\.\d ms|\d+\.\d s", slow["details"]["took"])
        status = supervised.status()
        assert status["healthy"] is True and status["injectedFaults"] == ["slow-status"]
        assert "slow-status (injected on purpose by mock-kms-provider" in supervised.status_run().stdout


def test_a_directory_or_a_script_without_its_interpreter_fails_at_once_with_the_cause(directory):
    plugin = directory / "plugin"
    plugin.write_text("#!/no/such/shell\n")
    plugin.chmod(0o755)
    for command, cause in ([str(directory)], "it is a directory"), ([str(plugin)], "the interpreter that its first line names"):
        with Supervised(directory, command) as supervised:
            assert supervised.program.wait() == 1
            assert any(cause in line and "was not started" in line for line in supervised.program.stderr), supervised.program.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")
def test_the_plugin_runs_as_another_user_under_limits(directory):
    directory.chmod(0o777)  # the provider puts its control socket there
    memory = "64TiB" if SANITIZED else "512MiB"
    options = ["--child-user=nobody", f"--child-memory={memory}", "--child-processes=200"]
    with Supervised(directory, options=options) as supervised:
        pid = supervised.healthy()["pid"]
        with open(f"/proc/{pid}/status") as lines:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
        assert fields["Uid"].split() == ["65534"] * 4 and fields["Groups"].split() == ["65534"]
        assert int(fields["CapEff"], 16) == 0
        with open(f"/proc/{pid}/limits") as lines:
            limits = {line[:26].strip(): line[26:].split()[0] for line in lines}
        assert limits["Max data size"] == str((64 << 40) if SANITIZED else (512 << 20)) and limits["Max processes"] == "200"
        supervised.program.process.kill()  # the death signal holds across the change of user
        supervised.program.wait()
        wait_for_exit(pid)


def test_a_plugin_that_listens_elsewhere_is_warned_about(directory):
    command = [binary("mock-kms-provider"), f"--listen-addr=unix://{directory}/other.sock"]
    with Supervised(directory, command) as supervised:
        supervised.program.wait_for_line(f"the plugin is set to listen on unix://{directory}/other.sock")


@pytest.mark.skipif(b"libgrpc++_unsecure.so" in Path(binary("supervisor")).read_bytes(),
                    reason="gRPC's shared library opens a descriptor before anything of ours can run")
def test_closed_standard_descriptors_do_no_harm(directory):
    program = [binary("supervisor"), f"--control-socket=unix://{directory}/control.sock", "run",
               f"--socket=unix://{directory}/kms.sock", "--", binary("mock-kms-provider"), f"--listen-addr=unix://{directory}/kms.sock"]
    process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *program])
    try:
        status = subprocess.run([*program[:2], "status", "--wait=20s"], capture_output=True, text=True)
        assert status.returncode == 0, status
        assert [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_a_service_manager_is_told_when_it_is_ready_how_it_is_and_when_it_stops(directory):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{directory}/notify.sock")
        manager.settimeout(20)

        def until(wanted):
            while wanted not in (told := manager.recv(4096).decode().splitlines()):
                pass
            return told

        with Supervised(directory, ["sh", "-c", f'echo "plugin sees: $NOTIFY_SOCKET."; exec {binary("mock-kms-provider")}'
                                             f' --listen-addr=unix://{directory}/kms.sock'],
                        env={"NOTIFY_SOCKET": f"{directory}/notify.sock", "WATCHDOG_USEC": "200000"}) as supervised:
            assert any(line.startswith("STATUS=healthy: pid ") for line in until("READY=1"))
            assert until("WATCHDOG=1") == ["WATCHDOG=1"]
            fault = [binary("mock-kms-provider"), "fault", "add", "unhealthy", f"--socket={supervised.endpoint}"]
            assert subprocess.run(fault, capture_output=True).returncode == 0
            while not any("STATUS=not healthy (serving): the plugin answers, but " in line for line in manager.recv(4096).decode().splitlines()):
                pass
            assert supervised.client("restart").returncode == 0
            new = supervised.status()["pid"]
            while not any(f"STATUS=healthy: pid {new}," in line for line in manager.recv(4096).decode().splitlines()):
                pass
            supervised.program.wait_for_line("plugin sees: .")
            supervised.program.send(signal.SIGTERM)
            until("STOPPING=1")


@pytest.mark.skipif(SANITIZED, reason="the supervisor itself needs more than the limit")
def test_out_of_memory_is_told_from_other_kills(directory):
    group = own_memory_group()
    if group is None:
        pytest.skip("no memory cgroup of version 1 can be made here")
    try:
        with open(f"{group}/memory.limit_in_bytes", "w") as limit:
            limit.write(str(96 << 20))
        eater = "import time\nopen('%s/eating', 'w').close()\nx = bytearray(400 << 20)\n" % directory
        command = ["sh", "-c", f"echo $$ > {group}/cgroup.procs && exec \"$@\"", "sh", binary("supervisor"),
                   f"--control-socket=unix://{directory}/control.sock", "run", f"--socket=unix://{directory}/kms.sock",
                   "--backoff-initial=5s", "--", *script(directory, eater)]
        with Program(*command) as program:
            line = program.wait_for_line("the plugin ended")
            assert "the kernel killed it because memory ran out" in line and "memory.oom_control" in line
            program.stop()
    finally:
        os.rmdir(group)


def own_memory_group():
    """A new memory cgroup (v1) below this process' own; None where that cannot be."""
    with open("/proc/self/cgroup") as lines:
        paths = [line.rstrip("\n").split(":", 2)[2] for line in lines if ":memory:" in line]
    if not paths:
        return None
    group = f"/sys/fs/cgroup/memory{paths[0]}/kms-test-{os.getpid()}"
    try:
        os.mkdir(group)
    except OSError:
        return None
    return group


def scrape(supervised):
    url = supervised.program.wait_for_line("serving metrics").rsplit("url=", 1)[1]
    with urllib.request.urlopen(url, timeout=20) as answer:
        return samples_of(answer.read().decode())


def samples_of(text):
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_metrics_tell_ends_by_cause_outages_and_latencies(directory):
    with Supervised(directory, options=["--metrics-addr=127.0.0.1:0"]) as supervised:
        pid = supervised.healthy()["pid"]
        os.kill(pid, signal.SIGKILL)
        supervised.healthy_after(pid)
        labels = f'instance="0",endpoint="{supervised.endpoint}"'
        metrics = scrape(supervised)
        assert metrics[f"kms_supervisor_up{{{labels}}}"] == "1" and metrics[f"kms_supervisor_healthy{{{labels}}}"] == "1"
        assert metrics[f'kms_supervisor_ends_total{{{labels},cause="exited"}}'] == "1"
        for cause in ("out_of_memory", "unresponsive", "never_ready", "unhealthy", "launch_failed", "planned_restart"):
            assert metrics[f'kms_supervisor_ends_total{{{labels},cause="{cause}"}}'] == "0"
        assert metrics[f"kms_supervisor_outages_total{{{labels}}}"] == "1"
        assert 0 < float(metrics[f"kms_supervisor_outage_seconds_total{{{labels}}}"]) < 20
        count = int(metrics[f"kms_supervisor_probe_duration_seconds_count{{{labels}}}"])
        assert count >= 2 and metrics[f'kms_supervisor_probe_duration_seconds_bucket{{{labels},le="+Inf"}}'] == str(count)
        supervised.client("stop")
        metrics = scrape(supervised)
        assert metrics[f"kms_supervisor_up{{{labels}}}"] == "0"
        assert metrics[f'kms_supervisor_ends_total{{{labels},cause="stop"}}'] == "1"


def test_the_command_prints_the_metrics_where_none_are_served(directory):
    with Supervised(directory) as supervised:
        supervised.healthy()
        metrics = samples_of(supervised.client("metrics").stdout)
        labels = f'instance="0",endpoint="{supervised.endpoint}"'
        assert metrics[f"kms_supervisor_up{{{labels}}}"] == "1"
        assert int(metrics[f"kms_supervisor_probe_duration_seconds_count{{{labels}}}"]) >= 1
    assert supervised.client("metrics").returncode == 3


def test_a_bad_metrics_address_is_refused_before_anything_starts(directory):
    result = subprocess.run([binary("supervisor"), "run", "--metrics-addr=localhost", "--", "true"], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.startswith("supervisor: --metrics-addr: 'localhost' is not an address")
