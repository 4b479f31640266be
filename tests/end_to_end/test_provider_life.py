"""Start and stop of mock-kms-provider, and others on its machine. Rule numbers are those of the KMS v2 contract."""

import contextlib
import os
import pwd
import resource
import select
import signal
import socket
import stat
import subprocess
import sys

import grpc
import pytest

from proto import kms_v2_pb2 as v2
from support.kms_client import KmsClient
from support.processes import DEADLINE, Program, binary, full_pipe, run_provider

SECRET = b"a plaintext that must not show!!"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may use another user's name")


def connect(path):
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(DEADLINE)
    plain.connect(str(path))
    return plain


def test_rules_6_29_35_what_was_encrypted_before_a_kill_decrypts_after_it(start_provider, endpoint):
    first = start_provider(endpoint)
    with KmsClient(endpoint) as client:
        sealed = client.encrypt(SECRET)
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
        start_provider(endpoint)  # over the socket file that the first one left
        with contextlib.suppress(grpc.RpcError):
            client.status()  # may still go out on the dead connection
        assert client.decrypt(sealed) == SECRET
        assert client.status().key_id == sealed.key_id


def test_a_removed_socket_is_bound_again_with_its_mode(start_provider, directory, endpoint):
    provider = start_provider(endpoint, "--socket-mode", "0660")
    path = directory / "kms.sock"
    path.unlink()
    assert "kms.sock" in provider.wait_for_line("the socket's path was removed; bound it again")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with KmsClient(endpoint) as client:
        assert client.status().healthz == "ok"
    provider.stop()
    assert not path.exists()


def test_sockets_come_back_when_their_directory_does(start_provider, directory):
    parent = directory / "run"
    parent.mkdir()
    provider = start_provider(f"unix://{parent}/kms.sock")
    for path in (*parent.iterdir(), parent):
        path.rmdir() if path.is_dir() else path.unlink()
    provider.wait_for_line("cannot be bound again; trying every second")
    parent.mkdir()
    provider.wait_for_line("run/kms.sock.control", start=len(provider.stderr) - 1)
    provider.wait_for_line("bound it again")
    with KmsClient(f"unix://{parent}/kms.sock") as client:
        assert client.status().healthz == "ok"


def test_a_removed_control_socket_is_bound_again(start_provider, directory, endpoint):
    provider = start_provider(endpoint)
    path = directory / "kms.sock.control"
    path.unlink()
    assert "kms.sock.control" in provider.wait_for_line("bound it again")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run_provider("keys", "--socket", endpoint).returncode == 0


def test_another_server_that_took_the_path_is_left_alone(start_provider, directory, endpoint):
    provider = start_provider(endpoint)
    (directory / "kms.sock").unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / "kms.sock"))
        other.listen()
        provider.wait_for_line("cannot be bound again")
        taken = (directory / "kms.sock").stat().st_ino
        provider.stop()
        assert (directory / "kms.sock").stat().st_ino == taken


@pytest.mark.parametrize("wrong, meant", [
    ("MOCK_KMS_KEY_VERSON", "MOCK_KMS_KEY_VERSION"), ("MOCK_KMS_LOG_LEVL", "MOCK_KMS_LOG_LEVEL"),
    ("VAULT_KUBE_KMS_TRANSIT_KY", "VAULT_KUBE_KMS_TRANSIT_KEY"), ("VAULT_KUBE_KMS_NOTHING", None),
])
def test_a_variable_that_nothing_reads_is_named(start_provider, endpoint, wrong, meant):
    provider = start_provider(endpoint, env={wrong: "x", "VAULT_KUBE_KMS_LOG_LEVEL": "info", "MOCK_KMS_LOG_LEVEL": "info"})
    provider.wait_for_line(": started")
    unknown = [line for line in provider.stderr if "unknown environment variable" in line]
    assert len(unknown) == 1 and wrong in unknown[0]
    assert unknown[0].endswith(f"; did you mean {meant}?" if meant else " has no effect")


@pytest.mark.parametrize("variable", ["VAULT_KUBE_KMS_METRICS_PORT", "MOCK_KMS_METRICS_PORT", "VAULT_KUBE_KMS_PORT"])
def test_variables_of_a_service_do_not_stop_a_start(start_provider, endpoint, variable):
    links = {variable: "tcp://10.96.3.4:8080", f"{variable}_8080_TCP_ADDR": "10.96.3.4",
             variable.replace("PORT", "SERVICE_HOST"): "10.96.3.4"}
    provider = start_provider(endpoint, env=links)
    warning = provider.wait_for_line("enableServiceLinks: false")
    assert variable in warning
    provider.stop()
    assert not [line for line in provider.stderr if "unknown environment variable" in line]


def test_rule_8_a_live_socket_is_refused_and_its_holder_named(start_provider, endpoint):
    holder = start_provider(endpoint)
    with Program(binary("mock-kms-provider"), "--listen-addr", endpoint) as second:
        assert second.wait() == 1
        assert f"pid {holder.pid}" in second.stderr[-1]
    with KmsClient(endpoint) as client:
        assert client.status().healthz == "ok"


def test_rule_8_a_file_that_is_no_socket_is_left_alone(directory, endpoint):
    (directory / "kms.sock").write_text("precious")
    with Program(binary("mock-kms-provider"), "--listen-addr", endpoint) as program:
        assert program.wait() == 1
        assert "not a socket" in program.stderr[-1]
    assert (directory / "kms.sock").read_text() == "precious"


def test_rule_9_the_socket_is_its_users_alone_unless_asked_otherwise(start_provider, directory):
    start_provider(f"unix://{directory}/a")
    start_provider(f"unix://{directory}/b", "--socket-mode", "0660")
    assert stat.S_IMODE((directory / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE((directory / "b").stat().st_mode) == 0o660


@as_root
def test_rule_9_the_socket_is_given_to_the_user_that_was_asked_for(start_provider, directory, endpoint):
    start_provider(endpoint, "--socket-owner", "nobody:nogroup")
    found = (directory / "kms.sock").stat()
    nobody = pwd.getpwnam("nobody")
    assert (found.st_uid, found.st_gid) == (nobody.pw_uid, nobody.pw_gid)


def test_rule_9_a_path_too_long_for_a_socket_is_refused_before_anything_else(directory):
    with Program(binary("mock-kms-provider"), "--listen-addr", f"unix://{directory}/{'x' * 108}") as program:
        assert program.wait() == 2
        assert "107" in program.stderr[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_rule_34_a_signal_drains_and_removes_the_socket(start_provider, directory, endpoint, number):
    provider = start_provider(endpoint)
    with KmsClient(endpoint) as client:
        client.status()
        # The client stays connected and reads nothing: it must not hold the provider up for the whole grace.
        assert provider.stop(number) == 0
    assert "drained" in provider.stderr[-1]
    assert not (directory / "kms.sock").exists()


def test_a_second_signal_ends_it_at_once(start_provider, directory, endpoint):
    provider = start_provider(endpoint, "--drain-grace", "1h")
    with KmsClient(endpoint) as client:
        client.status()
        provider.send(signal.SIGSTOP)
        provider.send(signal.SIGINT)
        provider.send(signal.SIGTERM)
        provider.send(signal.SIGCONT)
        assert provider.wait() == 1
    assert "second signal" in provider.stderr[-1]
    assert not (directory / "kms.sock").exists()


def test_rule_34_calls_under_way_at_a_signal_are_answered_or_told_to_go_elsewhere(start_provider, endpoint):
    provider = start_provider(endpoint)
    with KmsClient(endpoint) as client:
        sealed = client.encrypt(SECRET)
        request = v2.DecryptRequest(
            ciphertext=sealed.ciphertext, key_id=sealed.key_id, annotations=dict(sealed.annotations)
        )
        calls = [client.stub.Decrypt.future(request, timeout=DEADLINE) for _ in range(300)]
        calls[0].result()
        assert provider.stop() == 0
        for call in calls:
            try:
                assert call.result().plaintext == SECRET
            except grpc.RpcError as error:
                assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@pytest.mark.parametrize("effect, grace, answered", [("latency", "1h", True), ("hang", "300ms", False)])
def test_rule_34_a_slow_call_is_answered_within_the_grace_and_cut_off_after_it(
        start_provider, endpoint, effect, grace, answered):
    options = ["--latency", "1s"] if answered else []
    provider = start_provider(endpoint, "--drain-grace", grace, "--log-level", "debug")
    assert run_provider("fault", "add", effect, "--method", "encrypt", *options, "--socket", endpoint).returncode == 0
    with KmsClient(endpoint) as client:
        request = v2.EncryptRequest(plaintext=SECRET, uid="slow")
        call = client.stub.Encrypt.future(request, timeout=DEADLINE, wait_for_ready=True)
        provider.wait_for_line("a fault applies to a call")
        assert provider.stop() == 0
        if answered:
            assert call.result().ciphertext
            assert "drained" in provider.stderr[-1]
        else:
            assert call.exception().code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            assert "still in flight are cut off calls=1" in provider.stderr[-1]


def test_a_silent_connection_does_not_outlast_the_drain_grace(start_provider, directory, endpoint):
    provider = start_provider(endpoint, "--drain-grace", "100ms", "--timeout", "1h")
    with connect(directory / "kms.sock"):
        assert provider.stop() == 0


def test_a_silent_connection_is_closed_after_the_timeout(start_provider, directory, endpoint):
    start_provider(endpoint, "--timeout", "50ms")
    with connect(directory / "kms.sock") as silent:
        while silent.recv(4096):  # the server's own greeting, then the end
            pass


def test_garbage_on_the_socket_harms_no_one_else(start_provider, directory, endpoint):
    start_provider(endpoint)
    with KmsClient(endpoint) as client:
        sealed = client.encrypt(SECRET)
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 64, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99):
            with connect(directory / "kms.sock") as plain:
                plain.sendall(garbage)
                plain.shutdown(socket.SHUT_WR)
                try:
                    while plain.recv(4096):
                        pass
                except ConnectionResetError:
                    pass
        assert client.decrypt(sealed) == SECRET


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The first bytes of an HTTP/2 client: RFC 9113, section 3.4, with empty SETTINGS."""


def connect_and_speak(path):
    """Returns when the provider has answered, or has no descriptor for the connection."""
    plain = connect(path)
    plain.send(PREFACE)
    select.select([plain], [], [], 0.5)
    return plain


@pytest.mark.parametrize("speaks", [False, True], ids=["silent", "idle"])
def test_running_out_of_descriptors_passes(start_provider, directory, endpoint, speaks):
    provider = start_provider(endpoint)
    with KmsClient(endpoint) as client:
        client.status()
        in_use = len(os.listdir(f"/proc/{provider.pid}/fd"))
        limit = resource.prlimit(provider.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(provider.pid, resource.RLIMIT_NOFILE, (in_use + 3, limit[1]))
        crowd = [(connect_and_speak if speaks else connect)(directory / "kms.sock") for _ in range(10)]
        if speaks:
            provider.wait_for_line("cannot accept a connection")
        else:
            with KmsClient(endpoint) as late:  # the silent ones make room
                assert late.status().healthz == "ok"
        assert client.status().healthz == "ok"
        for plain in crowd:
            plain.close()
        with KmsClient(endpoint) as late:
            assert late.status().healthz == "ok"


@as_root
def test_no_core_is_dumped_and_no_other_process_of_the_user_may_look(start_provider, directory, endpoint):
    os.chmod(directory, 0o777)
    nobody = pwd.getpwnam("nobody").pw_uid

    def as_nobody():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os.setgid(pwd.getpwnam("nobody").pw_gid)
        os.setuid(nobody)

    provider = start_provider(endpoint, preexec_fn=as_nobody, cwd=directory)
    limits = open(f"/proc/{provider.pid}/limits").read()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]
    # proc(5): the files of a process belong to its user, or to root where it is not dumpable.
    with open(f"/proc/{provider.pid}/status") as status:
        assert f"Uid:\t{nobody}" in status.read()
    assert os.stat(f"/proc/{provider.pid}/maps").st_uid == 0
    provider.send(signal.SIGABRT)
    assert os.waitid(os.P_PID, provider.pid, os.WEXITED | os.WNOWAIT).si_code == os.CLD_KILLED
    assert not [name for name in os.listdir(directory) if name.startswith("core")]


def test_logs_hold_neither_plaintext_nor_seed(start_provider, directory, endpoint):
    seed = bytes(range(64, 96))
    (directory / "seed").write_bytes(seed)
    provider = start_provider(endpoint, "--log-level", "debug", "--seed-file", f"{directory}/seed")
    with KmsClient(endpoint) as client:
        sealed = client.encrypt(SECRET)
        assert client.decrypt(sealed) == SECRET
        for refused in (
            lambda: client.encrypt(SECRET, uid=""),
            lambda: client.decrypt(sealed, ciphertext=SECRET),
            lambda: client.decrypt(sealed, annotations={"x.test": SECRET}),
            lambda: client.decrypt(sealed, annotations={"format.mock-kms.test": SECRET}),
        ):
            with pytest.raises(grpc.RpcError):
                refused()
    provider.stop()
    log = "\n".join(provider.stderr)
    assert log.count("refused a call") == 4
    for secret in (SECRET, seed):
        assert secret.decode() not in log and secret.hex() not in log


def test_the_log_tells_what_runs_and_warns_of_the_published_seed(start_provider, directory):
    plain = start_provider(f"unix://{directory}/a")
    assert "published test seed" in plain.stderr[0]
    started = plain.wait_for_line(": started")
    assert f"endpoint=unix://{directory}/a socket=\"mode 0600\" key_id=default/v1/" in started and " ms" in started
    (directory / "seed").write_text("00" * 32)
    assert len(start_provider(f"unix://{directory}/b", "--seed-file", f"{directory}/seed").stderr) == 1


def test_a_stopped_reader_of_the_log_does_not_end_the_service(directory, endpoint):
    read, write = os.pipe()
    provider = None
    try:
        provider = subprocess.Popen([binary("mock-kms-provider"), "--listen-addr", endpoint], stderr=write)
        with KmsClient(endpoint) as client:
            client.status()
            os.close(read)
            with pytest.raises(grpc.RpcError):
                client.encrypt(SECRET, uid="")  # is logged
            assert client.status().healthz == "ok"
    finally:
        os.close(write)
        if provider:
            provider.kill()
            provider.wait()


def test_a_reader_of_the_log_that_stops_reading_stops_nothing(directory, endpoint):
    read, write = full_pipe()
    provider = subprocess.Popen([binary("mock-kms-provider"), "--listen-addr", endpoint], stderr=write)
    try:
        with KmsClient(endpoint) as client:
            client.status()
            for _ in range(3):
                with pytest.raises(grpc.RpcError):
                    client.encrypt(SECRET, uid="")  # is logged
            os.set_blocking(read, False)
            with contextlib.suppress(BlockingIOError):
                while os.read(read, 65536):
                    pass
            with pytest.raises(grpc.RpcError):
                client.encrypt(SECRET, uid="")
            assert b"lines were dropped" in os.read(read, 65536)
        provider.terminate()
        assert provider.wait(DEADLINE) == 0
    finally:
        provider.kill()
        provider.wait()
        os.close(read)
        os.close(write)


# The connection as a process of another user sees it: "ok" or the failure.
ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(20)
    connection.connect("\\0" + sys.argv[1])
    try:
        connection.send(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        print("served" if connection.recv(1) else "closed")
    except ConnectionError:
        print("closed")
"""


@as_root
@pytest.mark.parametrize("args, answers", [
    ([], ["closed", "closed"]),
    (["--socket-owner", "65534"], ["served", "closed"]),
    (["--socket-owner", ":1234", "--socket-mode", "0660"], ["closed", "served"]),
    (["--socket-mode", "0666"], ["served", "served"]),
])
def test_rule_9_an_abstract_socket_is_held_to_mode_and_owner(start_provider, directory, args, answers):
    start_provider(f"unix:///@{directory.name}", *args)
    seen = [subprocess.run([sys.executable, "-c", ASK, directory.name], user=user, group=65534, extra_groups=groups,
                           cwd="/", capture_output=True, text=True, timeout=DEADLINE).stdout.strip()
            for user, groups in ((65534, []), (65533, [1234]))]
    assert seen == answers
    with KmsClient(f"unix:///@{directory.name}") as client:
        assert client.status().healthz == "ok"


def test_connections_that_send_nothing_make_room_for_others(start_provider, endpoint, directory):
    provider = start_provider(endpoint, "--timeout=60s")
    with contextlib.ExitStack() as stack:
        for _ in range(600):
            stack.enter_context(connect(directory / "kms.sock"))
        with KmsClient(endpoint) as client:
            assert client.status().healthz == "ok"
        assert len(os.listdir(f"/proc/{provider.pid}/fd")) < 400
        for _ in range(2000):
            connect(directory / "kms.sock").close()
        with KmsClient(endpoint) as client:
            assert client.status().healthz == "ok"
        assert provider.stop() == 0
