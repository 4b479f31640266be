"""The provider in the place of other plugins: their command lines start it as they are."""


import socket
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
                    {"transit_key": None, "transit_mount": None, "vault_key_path": "transit/keys/my-key"}):
        with start("--compat", "vault-kube-kms", *vault(**changes)), KmsClient(endpoint) as client:
            seen.add(client.status().key_id.split("/")[0])
    assert seen == {"my-key", "other.my-key", "admin.team.my-key", "second", "transit.keys.my-key"}


def test_vaults_metrics_port_is_honoured(endpoint, vault):
    with Program(binary("mock-kms-provider"), "--compat", "vault-kube-kms", *vault(metrics_port="65536")) as program:
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
])
def test_what_vaults_plugin_would_not_start_with_is_refused(vault, changes, says):
    assert says in refusal_of("--compat", "vault-kube-kms", *vault(**changes))


def test_vaults_options_without_compat_are_refused_with_the_way_out(vault):
    assert "add --compat vault-kube-kms" in refusal_of(*vault())
    assert "is not known" in refusal_of("--compat", "aws", *vault())
