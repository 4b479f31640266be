"""Several plugins under one supervisor: each lives its own life."""

import json
import os
import signal
import subprocess

import pytest

from support.kms_client import KmsClient
from support.processes import binary
from support.supervised import Supervised, alive


class Many(Supervised):
    """`count` instances of the provider, on kms-1.sock and so on."""

    def __init__(self, directory, count, options=()):
        super().__init__(
            directory, [binary("mock-kms-provider"), "--listen-addr", f"unix://{directory}/kms-{{n}}.sock"],
            [f"--instances={count}", *options], socket_uri=f"unix://{directory}/kms-{{n}}.sock",
            env={"MOCK_KMS_INSTANCE": "node-{n}"})

    def pids(self):
        return [one["pid"] for one in self.healthy()["instances"]]


def test_each_instance_has_its_own_socket_key_and_environment(directory):
    with Many(directory, 3) as many:
        status = many.healthy()
        assert [one["instance"] for one in status["instances"]] == [1, 2, 3]
        assert len({one["pid"] for one in status["instances"]}) == 3
        for number, one in enumerate(status["instances"], 1):
            endpoint = f"unix://{directory}/kms-{number}.sock"
            assert one["socket"]["endpoint"] == endpoint and one["command"][-1] == endpoint
            assert one["answer"]["keyId"].startswith(f"node-{number}/v1/")
            with KmsClient(endpoint) as client:
                assert client.decrypt(client.encrypt(b"mine")) == b"mine"
        assert many.program.wait_for_line("1| ") and many.program.wait_for_line("3| ")


def test_a_death_of_one_leaves_the_others_alone(directory):
    with Many(directory, 3) as many:
        first, second, third = many.pids()
        os.kill(second, signal.SIGKILL)
        many.program.wait_for_line(f"instance 2: the plugin ended pid={second}")
        after = many.pids()
        assert (after[0], after[2]) == (first, third) and after[1] != second
        status = many.healthy()
        assert [one["restarts"] for one in status["instances"]] == [0, 1, 0] and status["restarts"] == 1
        assert status["instances"][1]["exits"][0]["outage"].endswith("s")


def test_commands_are_for_one_instance_or_for_all(directory):
    with Many(directory, 3) as many:
        before = many.pids()
        assert many.client("restart", "--instance", "2").returncode == 0
        after = many.pids()
        assert (after[0], after[2]) == (before[0], before[2]) and after[1] != before[1]
        assert many.client("stop", "--instance", "3").returncode == 0
        status = many.status()
        assert status["healthy"] is False and status["reason"].startswith("instance 3: paused by ")
        assert [one["state"] for one in status["instances"]] == ["SERVING", "SERVING", "PAUSED"]
        assert json.loads(many.client("status", "--instance=1", "-o=json").stdout)["healthy"] is True
        refused = many.client("start")
        assert refused.returncode == 1
        assert "instance 1: the plugin is not paused; instance 2: the plugin is not paused" in refused.stderr
        many.pids()  # the third was started all the same
        for command in ["logs"], ["events"], ["status", "--wait=1h"], ["restart"]:
            wrong = many.client(*command, "--instance", "4")
            assert wrong.returncode == 2 and "there is no instance 4; 'supervisor status' lists them" in wrong.stderr
        events = [json.loads(line) for line in many.client("events", "-ojson", "--instance", "2").stdout.splitlines()]
        assert {event["instance"] for event in events} == {2}
        assert "ASKED_TO_RESTART" in [event["kind"] for event in events]
        lines = many.client("logs").stdout.splitlines()
        assert any(" [1] " in line for line in lines) and any(" [3] " in line for line in lines)


def test_one_that_gives_up_stays_down_and_the_others_serve_on(directory):
    plugin = directory / "plugin"
    plugin.write_text(f'#!/bin/sh\n[ "$1" = 2 ] && exit 7\nexec {binary("mock-kms-provider")} --listen-addr "$2"\n')
    plugin.chmod(0o755)
    socket = f"unix://{directory}/kms-{{n}}.sock"
    with Supervised(directory, [str(plugin), "{n}", socket], ["--instances=2", "--max-restarts=2", "--backoff-initial=1ms"],
                    socket_uri=socket) as two:
        two.program.wait_for_line("no restart")
        assert json.loads(two.status_run("--instance=1", "--wait=20s", "-o", "json").stdout)["healthy"] is True
        status = two.status()
        assert status["instances"][1]["state"] == "STOPPED"
        assert "instance 2: it has ended for good; exited with code 7" in status["reason"]
        assert two.status_run("--live").returncode == 0
        assert two.program.stop() == 1


def test_instances_on_one_socket_are_refused(directory):
    result = subprocess.run([binary("supervisor"), "run", "--instances=2", f"--socket=unix://{directory}/kms.sock", "--", "true"],
                            capture_output=True, text=True)
    assert result.returncode == 2
    assert "2 instances cannot share" in result.stderr and "{n}" in result.stderr


@pytest.mark.parametrize("count", [50])
def test_fifty_instances_start_restart_and_stop(directory, count):
    with Many(directory, count) as many:
        before = many.pids()
        assert len(set(before)) == count
        os.kill(before[24], signal.SIGKILL)
        many.program.wait_for_line(f"instance 25: the plugin ended pid={before[24]}")
        assert many.client("restart").returncode == 0
        after = many.pids()
        assert not set(before) & set(after)
        assert many.program.stop() == 0
        assert not [pid for pid in before + after if alive(pid)]
        assert not [name for name in os.listdir(directory) if name.endswith(".sock")]
