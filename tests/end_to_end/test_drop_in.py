"""The provider in the place of other plugins: their command lines start it as they are."""


import json
import socket
import urllib.error
import urllib.request

import pytest

from support.kms_client import KmsClient
from support.processes import DEADLINE, Program, binary, run_provider

SECRET = bytes(range(32))


def refusal_of(*args, env=None):
    done = run_provider(*args, env=env)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture
def secret_id(directory):
    path = directory / "secret-id"
    path.write_text("1f2e3d4c\n")
    return path


@pytest.fixture
def vault(endpoint, secret_id):
    """The command line of HashiCorp's plugin as OpenShift writes it, with what differs in a test."""

    def arguments(**changes):
        options = {"listen-address": endpoint, "vault-address": "https://vault.example:8200", "vault-namespace": "",
                   "transit-mount": "transit", "transit-key": "my-key", "approle-role-id": "role",
                   "approle-secret-id-path": secret_id, "log-level": "debug-extended", "metrics-port": "0"}
        options.update({name.replace("_", "-"): value for name, value in changes.items()})
        return [f"-{name}={value}" for name, value in options.items() if value is not None]

    return arguments


def start(*args, env=None):
    program = Program(binary("mock-kms-provider"), *args, env=env)
    program.wait_for_line(": started")
    return program


def test_the_upstream_mocks_command_line_starts_it(directory, endpoint):
    with start(f"-listen-addr={endpoint}", "-timeout=5s", "-config-file-path=/etc/softhsm-config.json") as program:
        assert "/etc/softhsm-config.json" in program.wait_for_line("the SoftHSM configuration is not needed")
        with KmsClient(endpoint) as client:
            assert client.decrypt(client.encrypt(SECRET)) == SECRET


def test_vaults_command_line_starts_it_and_the_key_is_the_transit_key(endpoint, vault):
    with start("--compat", "vault-kube-kms", *vault()) as program, KmsClient(endpoint) as client:
        assert client.status().key_id.startswith("my-key/v1/")
        assert client.decrypt(client.encrypt(SECRET)) == SECRET
        assert program.wait_for_line("no Vault is contacted")
        assert not [line for line in program.stderr if "1f2e3d4c" in line]


def test_the_environment_alone_makes_an_unchanged_command_line_start_it(endpoint, vault, secret_id):
    with start(*vault(), env={"MOCK_KMS_COMPAT": "vault-kube-kms"}), KmsClient(endpoint) as client:
        assert client.status().healthz == "ok"
    env = {"MOCK_KMS_COMPAT": "vault-kube-kms", "VAULT_KUBE_KMS_LISTEN_ADDRESS": endpoint, "VAULT_KUBE_KMS_VAULT_ADDRESS": "http://v",
           "VAULT_KUBE_KMS_APPROLE_ROLE_ID": "r", "VAULT_KUBE_KMS_APPROLE_SECRET_ID_PATH": str(secret_id),
           "VAULT_KUBE_KMS_TLS_SKIP_VERIFY": "false"}
    with start(env=env), KmsClient(endpoint) as client:
        assert client.status().key_id.startswith("kms-key/v1/")


def test_the_log_level_comes_from_vaults_variable_unless_ours_is_set(endpoint, vault):
    def logs_debug(**variables):
        with start("--compat", "vault-kube-kms", *vault(log_level=None), env=variables) as program:
            run_provider("fault", "add", "latency", "--latency", "1us", "--socket", endpoint, check=True)
            run_provider("status", "--socket", endpoint, check=True)
            program.stop()
            return any("a fault applies to a call" in line for line in program.stderr)

    assert logs_debug(VAULT_KUBE_KMS_LOG_LEVEL="debug-extended")
    assert not logs_debug(VAULT_KUBE_KMS_LOG_LEVEL="trace", MOCK_KMS_LOG_LEVEL="info")
    assert not logs_debug()
    assert "--log-level" in refusal_of("--compat", "vault-kube-kms", *vault(log_level=None), env={"VAULT_KUBE_KMS_LOG_LEVEL": "loud"})


def test_keys_of_other_mounts_and_namespaces_are_other_keys(endpoint, vault):
    seen = set()
    for changes in ({}, {"transit_mount": "other"}, {"vault_namespace": "admin/team"}, {"transit_key": "second"},
                    {"transit_key": None, "transit_mount": None, "vault_key_path": "other/keys/my-key"},
                    {"transit_key": None, "transit_mount": None, "vault_key_path": "team/transit/keys/my-key"}):
        with start("--compat", "vault-kube-kms", *vault(**changes)), KmsClient(endpoint) as client:
            seen.add(client.status().key_id.split("/")[0])
    assert seen == {"my-key", "other.my-key", "admin.team.my-key", "second", "team.transit.my-key"}


def test_a_key_path_names_the_key_of_mount_and_key(endpoint, vault):
    """The arguments of older and newer operators: what one encrypted the other decrypts."""
    by_path = {"transit_mount": None, "transit_key": None, "vault_key_path": "k8s/keys/kek"}
    with start("--compat", "vault-kube-kms", *vault(transit_mount="k8s", transit_key="kek")), KmsClient(endpoint) as client:
        sealed = client.encrypt(SECRET)
    with start("--compat", "vault-kube-kms", *vault(**by_path)), KmsClient(endpoint) as client:
        assert client.status().key_id == sealed.key_id and client.decrypt(sealed) == SECRET


def free_port():
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_is_served_and_follows_status(endpoint, vault):
    for _ in range(10):
        port = free_port()
        with Program(binary("mock-kms-provider"), "--compat", "vault-kube-kms", *vault(health_port=port)) as program:
            if "Address already in use" in program.wait_for_line("health"):
                continue
            assert get(port, "/healthz") == get(port, "/readyz") == (200, "ok\n")
            for fault, says in ((("unhealthy",), "healthz is not ok: the KMS reports an internal fault"),
                                (("key-disabled",), "FAILED_PRECONDITION: key disabled"), (("hang",), "no answer")):
                run_provider("fault", "add", *fault, "--name", "f", "--socket", endpoint, check=True)
                code, text = get(port, "/readyz")
                assert code == 503 and says in text and get(port, "/healthz")[0] == 503
                run_provider("fault", "clear", "f", "--socket", endpoint, check=True)
            assert get(port, "/readyz")[0] == 200 and get(port, "/other")[0] == 404
            return
    raise AssertionError("no port stayed free")


def test_options_of_the_newer_line_start_it_and_unused_ones_are_named(endpoint, vault):
    newer = ["--zap-log-level=debug", "--zap-encoder=json", "--zap-time-encoding=iso8601", "--zap-devel", "--vault-auth-namespace=admin"]
    with Program(binary("mock-kms-provider"), "--compat", "vault-kube-kms", *vault(log_level=None), *newer) as program:
        program.wait_for_line('"started"')
        run_provider("fault", "add", "latency", "--latency", "1us", "--socket", endpoint, check=True)
        run_provider("status", "--socket", endpoint, check=True)
        unused = json.loads(program.wait_for_line("these options have no effect here"))
        assert unused["options"] == "--vault-auth-namespace --zap-time-encoding --zap-devel"
        assert json.loads(program.wait_for_line("a fault applies to a call"))["level"] == "debug"


def test_the_secret_id_may_be_replaced_while_it_runs(endpoint, vault, secret_id):
    with start("--compat", "vault-kube-kms", *vault()), KmsClient(endpoint) as client:
        sealed = client.encrypt(SECRET)
        secret_id.unlink()
        assert client.decrypt(sealed) == SECRET
        (secret_id.parent / "new").write_text("another\n")
        (secret_id.parent / "new").rename(secret_id)
        assert client.decrypt(sealed) == SECRET
    with start("--compat", "vault-kube-kms", *vault()), KmsClient(endpoint) as client:
        assert client.decrypt(sealed) == SECRET


def test_metrics_have_the_documented_port_unless_it_is_in_use(endpoint, vault):
    with Program(binary("mock-kms-provider"), "--compat", "vault-kube-kms", *vault(metrics_port=None)) as first:
        line = first.wait_for_line("metrics")  # another program of this machine may have the port
        assert ":8080/metrics" in line or "Address already in use" in line
        with start("--compat", "vault-kube-kms", *vault(metrics_port=None, listen_address=endpoint + "2")) as second:
            assert "Address already in use" in second.wait_for_line("there are no metrics")


def test_variables_of_kubernetes_service_links_do_not_stop_it(endpoint, vault):
    env = {f"VAULT_KUBE_KMS_{name}_PORT": "tcp://10.96.3.4:8080" for name in ("METRICS", "HEALTH")}
    with start("--compat", "vault-kube-kms", *vault(metrics_port=None), env=env) as program:
        assert "VAULT_KUBE_KMS_" in program.wait_for_line("enableServiceLinks: false")

def test_vaults_metrics_port_is_honoured(endpoint, vault):
    for option in ("metrics_port", "health_port"):
        with Program(binary("mock-kms-provider"), "--compat", "vault-kube-kms", *vault(**{option: "65536"})) as program:
            assert program.wait() == 2
            assert "port is not a number up to 65535" in program.stderr[-1]
    with start("--compat", "vault-kube-kms", *vault(), "--metrics-addr", "127.0.0.1:0") as program:
        assert program.wait_for_line("serving metrics")


def test_vaults_metrics_port_opens(endpoint, vault):
    for _ in range(10):
        with socket.socket() as free:  # until somebody else takes it, which the log tells
            free.bind(("", 0))
            port = free.getsockname()[1]
        with Program(binary("mock-kms-provider"), "--compat", "vault-kube-kms", *vault(metrics_port=port)) as program:
            if "Address already in use" in program.wait_for_line("metrics"):
                continue
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE) as answer:
                assert b"mock_kms_key_version 1" in answer.read()
            return
    raise AssertionError("no port stayed free")


def test_the_credential_file_is_checked_as_vaults_plugin_does(directory, vault):
    compat = ["--compat", "vault-kube-kms"]
    empty = directory / "empty"
    empty.write_text(" \n")
    assert "cannot open it: No such file" in refusal_of(*compat, *vault(approle_secret_id_path=directory / "missing"))
    assert "it is empty" in refusal_of(*compat, *vault(approle_secret_id_path=empty))
    assert "it is a directory" in refusal_of(*compat, *vault(approle_secret_id_path=directory))
    assert "--tls-ca-file" in refusal_of(*compat, *vault(tls_ca_file=directory / "ca.crt"))


@pytest.mark.parametrize("changes, says", [
    ({"vault_address": None}, "--vault-address is missing"),
    ({"vault_address": "vault:8200"}, "is not a URL"),
    ({"approle_role_id": None}, "--approle-role-id is missing"),
    ({"approle_secret_id_path": None}, "--approle-secret-id-path is missing"),
    ({"auth_method": "kubernetes"}, "knows approle only"),
    ({"log_level": "loud"}, "--log-level"),
    ({"vault_key_path": "my-key"}, "--vault-key-path is not MOUNT/keys/KEY"),
    ({"vault_key_path": "transit/keys/"}, "--vault-key-path is not MOUNT/keys/KEY"),
    ({"zap_log_level": "loud"}, "--zap-log-level: there is no 'loud'"),
    ({"zap_encoder": "xml"}, "--zap-encoder: there is no 'xml'"),
])
def test_what_vaults_plugin_would_not_start_with_is_refused(vault, changes, says):
    assert says in refusal_of("--compat", "vault-kube-kms", *vault(**changes))


def test_vaults_options_without_compat_are_refused_with_the_way_out(vault):
    assert "add --compat vault-kube-kms" in refusal_of(*vault())
    assert "is not known" in refusal_of("--compat", "aws", *vault())
