"""Rotation by command: real providers, their control sockets, and clients that call all the while."""

import concurrent.futures
import json
import os
import signal
import stat
import socket
import subprocess
import threading
import time

import grpc
import pytest

from support.kms_client import KmsClient
from support.processes import DEADLINE, Program, binary, run, run_provider
from support.supervised import Supervised

SECRET = bytes(range(32))


def rotate(endpoint, *args):
    return run_provider("rotate", "--socket", endpoint, *args)


def version_of(key_id):
    return int(key_id.split("/")[1][1:])


def test_rotate_goes_on_to_where_it_is_told_and_never_back_unless_forced(start_provider, endpoint):
    start_provider(endpoint)
    assert rotate(endpoint).stdout.startswith("v1 -> v2  default/v2/")
    assert rotate(endpoint, "--to", 5).stdout.startswith("v2 -> v5  ")
    assert rotate(endpoint, "--to", 5).stdout.startswith("v5 is already current  ")
    back = rotate(endpoint, "--to", 2)
    assert back.returncode == 1
    assert "version 2 is not above 5" in back.stderr and "--force" in back.stderr and back.stderr.count("\n") == 1
    assert rotate(endpoint, "--to", 2, "--force").returncode == 0
    assert json.loads(rotate(endpoint, "-o", "json").stdout)["to"] == 6  # an id is never used again
    listed = json.loads(run_provider("keys", "--socket", endpoint, "-o", "json").stdout)["keys"]
    assert [key["version"] for key in listed] == [6, 2, 5, 2, 1]
    assert [key["current"] for key in listed] == [True, False, False, False, False]
    assert "v6 *" in run_provider("keys", "--socket", endpoint).stdout


def test_rotate_says_when_a_restart_loses_the_version(start_provider, endpoint, directory):
    provider = start_provider(endpoint)
    lost = rotate(endpoint)
    assert lost.returncode == 0 and lost.stdout.startswith("v1 -> v2  ")
    assert lost.stderr == "mock-kms-provider: v2 is lost when the provider restarts; start it with --state-dir to keep it\n"
    assert not json.loads(rotate(endpoint, "-o", "json").stdout)["stored"]
    provider.stop()
    start_provider(endpoint, "--state-dir", directory / "state")
    kept = rotate(endpoint)
    assert (kept.returncode, kept.stderr) == (0, "")


@pytest.mark.parametrize("kept", [False, True], ids=["without --state-dir", "with --state-dir"])
def test_events_name_a_rotation_that_a_restart_lost(directory, endpoint, kept):
    command = [binary("mock-kms-provider"), "--listen-addr", endpoint, *(["--state-dir", str(directory / "state")] if kept else [])]
    with Supervised(directory, command, socket_uri=endpoint, options=["--probe-interval=20ms"]) as supervised:
        supervised.healthy()
        assert rotate(endpoint).returncode == 0
        supervised.program.wait_for_line("the plugin names another key")
        assert supervised.client("restart").returncode == 0
        if kept:
            assert rotate(endpoint, "--to", 9).returncode == 0
            supervised.program.wait_for_line("to=default/v9/")
        else:
            supervised.program.wait_for_line("against rule 15")
        events = [json.loads(line) for line in supervised.client("events", "-o", "json").stdout.splitlines()]
        changes = [event for event in events if event["kind"] == "KEY_CHANGED"]
        steps_back = [event["text"] for event in changes if "went back to an earlier key when it was restarted" in event["text"]]
        assert len(changes) == 2 and len(steps_back) == (0 if kept else 1), changes
        assert kept or "--state-dir" in steps_back[0]


def test_events_name_a_rotation_that_a_restart_lost_before_the_next_probe(directory, endpoint):
    command = [binary("mock-kms-provider"), "--listen-addr", endpoint]
    with Supervised(directory, command, socket_uri=endpoint, options=["--probe-interval=2s"]) as supervised:
        supervised.healthy()
        assert rotate(endpoint).returncode == 0
        assert supervised.client("restart").returncode == 0
        supervised.program.wait_for_line("against rule 15")


def test_rules_13_14_15_status_and_encrypt_change_at_one_instant_under_load(start_provider, endpoint):
    """No call that begins after another has ended may see an older version than that one saw."""
    start_provider(endpoint)
    seen = []
    stop = threading.Event()

    def call_on_and_on(encrypts):
        with KmsClient(endpoint, timeout=DEADLINE) as client:
            while not stop.is_set():
                begun = time.monotonic_ns()
                if encrypts:
                    sealed = client.encrypt(SECRET)
                    key_id = sealed.key_id
                else:
                    key_id = client.status().key_id
                seen.append((begun, time.monotonic_ns(), version_of(key_id)))
                if encrypts:
                    assert client.decrypt(sealed) == SECRET

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(call_on_and_on, i % 2 == 0) for i in range(16)]
        for version in range(2, 42):
            assert rotate(endpoint, "--to", version).returncode == 0
        stop.set()
        for call in calls:
            call.result()
    assert len({version for _, _, version in seen}) > 20
    ended = sorted((end, version) for _, end, version in seen)
    newest, at = 0, 0
    for begun, _, version in sorted(seen):
        while at < len(ended) and ended[at][0] < begun:
            newest = max(newest, ended[at][1])
            at += 1
        assert version >= newest


def test_rules_29_35_the_version_survives_a_kill_and_keys_survive_the_loss_of_it(start_provider, directory, endpoint):
    state = directory / "state"
    first = start_provider(endpoint, "--state-dir", state)
    with KmsClient(endpoint) as client:
        sealed = [client.encrypt(SECRET)]
        for _ in range(3):
            rotate(endpoint)
            sealed.append(client.encrypt(SECRET))
    first.stop(signal.SIGKILL)
    second = start_provider(endpoint, "--state-dir", state)
    second.wait_for_line("key_id=default/v4/")
    second.stop()
    (state / "default.json").write_text('{"instance": "defau')
    third = start_provider(endpoint, "--state-dir", state)
    third.wait_for_line("state file is damaged and was renamed")
    third.wait_for_line("key_id=default/v1/")
    with KmsClient(endpoint) as client:
        assert all(client.decrypt(each) == SECRET for each in sealed)
    replica = f"unix://{directory}/replica.sock"
    start_provider(replica)
    with KmsClient(replica) as client:
        assert all(client.decrypt(each) == SECRET for each in sealed)


def test_the_control_socket_is_its_users_alone_and_goes_with_the_provider(start_provider, directory, endpoint):
    provider = start_provider(endpoint)
    path = directory / "kms.sock.control"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    provider.stop()
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_is_refused_even_where_the_socket_is_open_to_all(start_provider, directory, endpoint):
    provider = start_provider(endpoint)
    os.chmod(directory, 0o755)
    os.chmod(directory / "kms.sock.control", 0o666)
    refused = run_provider("rotate", "--socket", endpoint, user="nobody")
    assert refused.returncode == 3
    provider.wait_for_line("refused a connection to the control socket")


def test_the_control_service_is_not_on_the_kms_socket(start_provider, endpoint):
    start_provider(endpoint)
    wrong = run_provider("rotate", "--control-socket", endpoint)
    assert wrong.returncode == 3
    assert "is not a provider's control socket" in wrong.stderr


def test_abstract_sockets_have_control_sockets_too(start_provider, directory):
    endpoint = f"unix:///@{directory.name}"
    start_provider(endpoint)
    assert rotate(endpoint).returncode == 0


def test_without_a_provider_the_exit_code_is_3_and_with_bad_options_2(endpoint):
    for command in ("rotate", "keys"):
        gone = run_provider(command, "--socket", endpoint)
        assert gone.returncode == 3
        assert "No such file or directory; start one with" in gone.stderr and gone.stderr.count("\n") == 1
    assert run_provider("rotate", "--socket", "tcp:1").returncode == 2
    assert run_provider("rotate", "--to", "0").returncode == 2


def test_a_command_waits_for_a_provider_that_takes_over(directory, endpoint, start_provider):
    """Between two providers somebody listens on the KMS socket, but nobody on the control socket."""
    with socket.socket(socket.AF_UNIX) as kms:
        kms.bind(str(directory / "kms.sock"))
        kms.listen()
        assert run_provider("keys", "--socket", endpoint, "--timeout", "100ms").returncode == 3
        with Program(binary("mock-kms-provider"), "keys", "--socket", endpoint, "--timeout", "20s",
                     stdout=subprocess.PIPE) as keys:
            start_provider(f"unix://{directory}/other.sock", "--control-socket", f"{endpoint}.control")
            assert keys.process.stdout.read() and keys.wait() == 0
            keys.process.stdout.close()


def test_a_provider_that_is_told_to_end_plays_its_scenario_no_further(directory, endpoint, start_provider):
    program = start_provider(endpoint, "--state-dir", directory / "state", "--drain-grace", "20s", "--log-level", "debug",
                             "--fault", '{"methods": ["ENCRYPT"], "latency": {"min": "5s"}}')
    with KmsClient(endpoint, timeout=DEADLINE) as client, concurrent.futures.ThreadPoolExecutor() as threads:
        call = threads.submit(client.encrypt, SECRET)
        program.wait_for_line("a fault applies to a call")
        run_provider("scenario", "run", "-", "--socket", endpoint, check=True,
                     input='{"steps": [{"at": "2s", "do": {"rotate": {}}}]}')
        program.send(signal.SIGTERM)
        assert call.result().key_id.startswith("default/v1/")  # which takes longer than the scenario
        assert program.wait() == 0
    assert not [line for line in program.stderr if "rotated the key" in line]
    assert not (directory / "state/default.json").exists() or json.loads((directory / "state/default.json").read_text())["current"] == 1


def version_seen(client):
    try:
        return version_of(client.status().key_id)
    except grpc.RpcError:  # an idle client's first call after a restart: docs/supervisor.md
        return version_of(client.status().key_id)


def test_a_supervised_standby_takes_the_control_socket_and_the_version_over(directory, endpoint):
    with Program(
        binary("supervisor"), "--control-socket", f"unix://{directory}/supervisor.sock", "run", "--standby", "--socket",
        endpoint, "--", binary("mock-kms-provider"), "--listen-addr", endpoint, "--state-dir", directory / "state",
    ) as supervisor, KmsClient(endpoint) as client:
        assert client.status().key_id.startswith("default/v1/")
        # The control socket opens when the provider becomes active, just before it accepts.
        assert rotate(endpoint).returncode == 0
        assert client.status().key_id.startswith("default/v2/")
        for version in range(2, 10):
            done = run("supervisor", "--control-socket", f"unix://{directory}/supervisor.sock", "restart")
            assert done.returncode == 0, done.stderr
            # At once: the process before may be there still, and must neither refuse the command nor take it to its end.
            rotated = rotate(endpoint)
            assert rotated.stdout.startswith(f"v{version} -> v{version + 1}  "), rotated
            seen = version_seen(client)
            while seen == version:  # by the process before, which serves this connection until the client has left
                seen = version_seen(client)
            assert seen == version + 1
        supervisor.stop()
