"""The provider as the mock of Kubernetes' integration tests (`--compat kubernetes-mock`), and KMS v1 (`--kms-v1`).

The steps of those tests, by a foreign gRPC client: values are sealed as kube-apiserver does, and the plugin is asked as
kube-apiserver and the tests ask it.
"""

import base64
import json
import os

import grpc
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from end_to_end.test_inspect import KEY, OBJECT, TYPE, inspect, report_of, stored_value
from proto import kms_v1_pb2 as v1
from proto import kms_v1_pb2_grpc
from proto import kms_v2_pb2 as v2
from support.kms_client import KmsClient, code_of, grpc_target
from support.processes import run_provider

MOCK = ("--compat", "kubernetes-mock")
ANNOTATIONS = {"local-kek.kms.kubernetes.io": b"encrypted-local-kek"}
DISABLED = (grpc.StatusCode.FAILED_PRECONDITION, "failed precondition - key disabled")


@pytest.fixture
def mock(start_provider, endpoint):
    start_provider(endpoint, *MOCK)
    with KmsClient(endpoint, timeout=20) as client:
        yield client


@pytest.fixture
def v1_stub(endpoint):
    with grpc.insecure_channel(grpc_target(endpoint), options=[("grpc.default_authority", "localhost")]) as channel:
        yield kms_v1_pb2_grpc.KeyManagementServiceStub(channel)


def by_command(*args, endpoint):
    run_provider(*args, "--socket", endpoint, check=True)


def calls_of(endpoint):
    shown = run_provider("journal", "-o", "json", "--socket", endpoint, check=True).stdout
    return [(call.get("method"), call.get("code")) for call in map(json.loads, shown.splitlines())]


def test_the_answers_are_those_of_the_mock(mock, endpoint):
    assert mock.status() == v2.StatusResponse(version="v2beta1", healthz="ok", key_id="1")
    dek = os.urandom(32)
    sealed = mock.encrypt(dek, uid="u")
    assert sealed == v2.EncryptResponse(ciphertext=base64.b64encode(dek), key_id="1", annotations=ANNOTATIONS)
    # the tests ask Decrypt with ciphertext and uid alone
    assert mock.stub.Decrypt(v2.DecryptRequest(uid="u", ciphertext=sealed.ciphertext)).plaintext == dek
    # LastEncryptRequest()
    assert dek.hex() in run_provider("journal", "--reveal", "--socket", endpoint, check=True).stdout


def test_calls_without_a_uid_and_ciphertexts_that_are_no_base64_are_refused(mock):
    refused = (grpc.StatusCode.INVALID_ARGUMENT, "uid is required")
    assert code_of(mock.encrypt, b"x", uid="") == refused
    assert code_of(mock.stub.Decrypt, v2.DecryptRequest(ciphertext=b"eA==")) == refused
    assert code_of(mock.stub.Decrypt, v2.DecryptRequest(uid="u", ciphertext=b"!!"))[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_rotate_goes_to_the_next_key_id_and_the_old_data_stays_readable(mock, endpoint):
    old = mock.encrypt(b"old")
    assert "2" in run_provider("rotate", "--socket", endpoint, check=True).stdout
    assert mock.status().key_id == mock.encrypt(b"new").key_id == "2"
    assert mock.decrypt(old) == b"old"
    by_command("rotate", endpoint=endpoint)
    assert mock.status().key_id == "3"


def test_the_failed_state_is_entered_and_left_by_a_preset(mock, endpoint):
    sealed = mock.encrypt(b"x")
    by_command("fault", "add", "kubernetes-mock-failed", endpoint=endpoint)
    for call in (mock.status, lambda: mock.encrypt(b"x"), lambda: mock.decrypt(sealed)):
        assert code_of(call) == DISABLED
    by_command("fault", "clear", endpoint=endpoint)
    assert mock.status().healthz == "ok" and mock.decrypt(sealed) == b"x"


def test_two_mocks_fail_independently_and_read_each_other(start_provider, mock, endpoint):
    start_provider(endpoint + "2", *MOCK, "--instance", "second")
    with KmsClient(endpoint + "2", timeout=20) as other:
        by_command("fault", "add", "kubernetes-mock-failed", endpoint=endpoint)
        assert code_of(mock.status) == DISABLED
        sealed = other.encrypt(b"x")
        by_command("fault", "clear", endpoint=endpoint)
        assert mock.decrypt(sealed) == b"x"


def test_the_version_is_set_by_a_fault(mock, endpoint):
    by_command("fault", "add", "version", "--text", "v9", endpoint=endpoint)
    assert mock.status().version == "v9"


@pytest.mark.parametrize("kind", ["AES_GCM_KEY", "HKDF_SHA256_XNONCE_AES_GCM_SEED"])
def test_stored_data_of_the_mock_is_read_by_the_plugin_and_by_inspect(mock, endpoint, kind):
    """As the golden data: an EncryptedObject whose DEK source is base64, in both schemes."""
    dek = os.urandom(32)
    value, _ = stored_value(TYPE.DekSourceType.Value(kind), sealed=(base64.b64encode(dek), "1", ANNOTATIONS), dek_source=dek)
    assert report_of(value, "--key", KEY, "--expect-key-id", "1")["object"]["bytes"] == len(OBJECT)
    report = report_of(value, "--key", KEY, "--socket", endpoint)
    assert (report["object"]["bytes"], report["dekSource"]["bytes"]) == (len(OBJECT), 32)


def test_what_has_no_effect_is_refused_or_named(directory, endpoint, start_provider):
    done = run_provider(*MOCK, "--key-id-format", "k{version}")
    assert done.returncode == 2 and "--key-id-format has no effect with --compat kubernetes-mock" in done.stderr
    (directory / "seed").write_bytes(os.urandom(32))
    program = start_provider(endpoint, *MOCK, "--seed-file", directory / "seed")
    assert program.wait_for_line("--seed-file is not used") and program.wait_for_line("hide nothing")
    done = run_provider("--compat", "kubernetes")
    assert done.returncode == 2 and "use vault-kube-kms or kubernetes-mock" in done.stderr


def test_the_state_keeps_the_key_id_across_a_restart(start_provider, directory, endpoint):
    program = start_provider(endpoint, *MOCK, "--state-dir", directory / "state")
    by_command("rotate", endpoint=endpoint)
    program.stop()
    start_provider(endpoint, *MOCK, "--state-dir", directory / "state")
    with KmsClient(endpoint, timeout=20) as client:
        assert client.status().key_id == "2"


# KMS v1

def v1_value(cipher, dek, name="kms-v1", key=KEY):
    """As kube-apiserver stores it under KMS v1."""
    nonce = os.urandom(12)
    sealed = nonce + AESGCM(dek).encrypt(nonce, OBJECT, key.encode())
    return f"k8s:enc:kms:v1:{name}:".encode() + len(cipher).to_bytes(2, "big") + cipher + sealed


def test_the_mock_serves_kms_v1_too(start_provider, endpoint, v1_stub):
    start_provider(endpoint, *MOCK, "--kms-v1")
    assert v1_stub.Version(v1.VersionRequest(version="v1beta1")) == v1.VersionResponse(
        version="v1beta1", runtime_name="testKMS", runtime_version="0.0.1")
    sealed = v1_stub.Encrypt(v1.EncryptRequest(version="v1beta1", plain=b"foo"))
    assert sealed.cipher == base64.b64encode(b"foo")
    assert v1_stub.Decrypt(v1.DecryptRequest(version="v1beta1", cipher=sealed.cipher)).plain == b"foo"
    by_command("fault", "add", "kubernetes-mock-failed", endpoint=endpoint)
    assert code_of(v1_stub.Encrypt, v1.EncryptRequest(plain=b"foo")) == DISABLED
    assert code_of(v1_stub.Decrypt, v1.DecryptRequest(cipher=sealed.cipher)) == DISABLED
    assert v1_stub.Version(v1.VersionRequest(version="v1beta1")).version == "v1beta1"
    by_command("fault", "clear", endpoint=endpoint)
    assert v1_stub.Encrypt(v1.EncryptRequest(plain=b"foo")).cipher == sealed.cipher
    dek = os.urandom(32)
    report = report_of(v1_value(base64.b64encode(dek), dek), "--key", KEY)
    assert (report["api"], report["keyId"], report["object"]["bytes"]) == ("KMS v1", "", len(OBJECT))


def test_kms_v1_and_v2_are_served_beside_each_other_across_a_rotation(start_provider, endpoint, v1_stub):
    start_provider(endpoint, "--kms-v1")
    assert v1_stub.Version(v1.VersionRequest(version="v1beta1")).runtime_name == "mock-kms-provider"
    dek = os.urandom(32)
    old = v1_stub.Encrypt(v1.EncryptRequest(version="v1beta1", plain=dek)).cipher
    assert dek not in old
    by_command("rotate", endpoint=endpoint)
    new = v1_stub.Encrypt(v1.EncryptRequest(version="v1beta1", plain=dek)).cipher
    assert b"default/v1/" in old and b"default/v2/" in new
    for cipher in (old, new):
        assert v1_stub.Decrypt(v1.DecryptRequest(version="v1beta1", cipher=cipher)).plain == dek
        report = report_of(v1_value(cipher, dek), "--key", KEY)
        assert (report["api"], report["object"]["bytes"]) == ("KMS v1", len(OBJECT))
        assert report_of(v1_value(cipher, dek), "--key", KEY, "--socket", endpoint)["object"]["bytes"] == len(OBJECT)
    with KmsClient(endpoint, timeout=20) as client:
        assert client.decrypt(client.encrypt(dek)) == dek
    assert calls_of(endpoint)[:2] == [("V1Version", "OK"), ("V1Encrypt", "OK")]
    metrics = run_provider("metrics", "--socket", endpoint, check=True).stdout
    assert 'mock_kms_calls_total{method="V1Encrypt",code="OK"} 2' in metrics
    assert run_provider("expect", "v1encrypt == 2 since start", "--socket", endpoint).returncode == 0
    assert run_provider("expect", "encrypt == 1 since start", "--socket", endpoint).returncode == 0


def test_faults_apply_to_kms_v1(start_provider, endpoint, v1_stub):
    start_provider(endpoint, "--kms-v1")
    sealed = v1_stub.Encrypt(v1.EncryptRequest(plain=b"foo")).cipher
    for fault, call in ((("error", "--code", "NOT_FOUND", "--method", "encrypt"), lambda: v1_stub.Encrypt(v1.EncryptRequest())),
                        (("error", "--code", "NOT_FOUND", "--method", "version"), lambda: v1_stub.Version(v1.VersionRequest())),
                        (("error", "--code", "NOT_FOUND", "--key-id", "default/v1/*"),
                         lambda: v1_stub.Decrypt(v1.DecryptRequest(cipher=sealed)))):
        by_command("fault", "add", *fault, endpoint=endpoint)
        assert code_of(call)[0] == grpc.StatusCode.NOT_FOUND
        by_command("fault", "clear", endpoint=endpoint)
    by_command("fault", "add", "plaintext-wrong", endpoint=endpoint)
    assert v1_stub.Decrypt(v1.DecryptRequest(cipher=sealed)).plain != b"foo"
    by_command("fault", "add", "ciphertext-echoed", endpoint=endpoint)
    assert v1_stub.Encrypt(v1.EncryptRequest(plain=b"foo")).cipher == b"foo"


def test_a_cipher_of_kms_v1_that_was_changed_is_refused(start_provider, endpoint, v1_stub):
    start_provider(endpoint, "--kms-v1")
    sealed = v1_stub.Encrypt(v1.EncryptRequest(plain=b"foo")).cipher
    for cipher in (b"", b"foo", sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), b"\xff" * 40):
        assert code_of(v1_stub.Decrypt, v1.DecryptRequest(cipher=cipher))[0] == grpc.StatusCode.INVALID_ARGUMENT
    done = inspect(v1_value(b"vault:v1:abc", os.urandom(32)), "--key", KEY)
    assert done.returncode == 1 and b"the cipher does not begin with a key_id" in done.stderr


# Key ids chosen by the user

def test_key_ids_have_the_form_that_the_user_chose(start_provider, directory, endpoint):
    chosen = ("--key-id-format", "arn:test/{instance}-{version}", "--instance", "blue")
    program = start_provider(endpoint, *chosen, "--state-dir", directory / "state")
    start_provider(endpoint + "2", *chosen)
    with KmsClient(endpoint, timeout=20) as client, KmsClient(endpoint + "2", timeout=20) as replica:
        old = client.encrypt(b"x")
        assert old.key_id == client.status().key_id == "arn:test/blue-1"
        by_command("rotate", endpoint=endpoint)
        new = client.encrypt(b"x")
        assert new.key_id == "arn:test/blue-2"
        assert [replica.decrypt(sealed) for sealed in (old, new)] == [b"x", b"x"]
        for key_id, code, text in (("default/v1/e23984db", grpc.StatusCode.INVALID_ARGUMENT,
                                    "key_id is not of the format arn:test/{instance}-{version}"),
                                   ("arn:test/red-1", grpc.StatusCode.NOT_FOUND,
                                    "key_id arn:test/red-1 belongs to another instance than blue"),
                                   ("arn:test/blue-02", grpc.StatusCode.INVALID_ARGUMENT,
                                    "key_id is not of the format arn:test/{instance}-{version}")):
            assert code_of(client.decrypt, old, key_id=key_id) == (code, text)
        dek = os.urandom(32)
        answer = client.encrypt(dek)
        value, _ = stored_value(sealed=(answer.ciphertext, answer.key_id, dict(answer.annotations)), dek_source=dek)
    report = report_of(value, "--key", KEY, "--key-id-format", "arn:test/{instance}-{version}")
    assert (report["keyId"], report["object"]["bytes"]) == ("arn:test/blue-2", len(OBJECT))
    assert b"not of the format {instance}/v{version}/{check}" in inspect(value, "--key", KEY).stderr
    program.stop()
    start_provider(endpoint, *chosen, "--state-dir", directory / "state")
    assert "arn:test/blue-2" in run_provider("status", "--socket", endpoint, check=True).stdout
    assert "arn:test/blue-1" in run_provider("keys", "--socket", endpoint, check=True).stdout


def test_a_format_without_an_instance_is_inspected_with_the_instance(start_provider, endpoint):
    start_provider(endpoint, "--key-id-format", "{version}", "--instance", "blue")
    dek = os.urandom(32)
    with KmsClient(endpoint, timeout=20) as client:
        answer = client.encrypt(dek)
    value, _ = stored_value(sealed=(answer.ciphertext, answer.key_id, dict(answer.annotations)), dek_source=dek)
    assert report_of(value, "--key", KEY, "--key-id-format", "{version}", "--instance", "blue")["keyId"] == "1"
    assert inspect(value, "--key", KEY, "--key-id-format", "{version}").returncode == 1


@pytest.mark.parametrize("text, says", [
    ("key", "--key-id-format: it does not contain {version}"),
    ("{version}" + "x" * 1024, "--key-id-format: its key ids can be longer than 1024 bytes"),
    ("{version}{node}", "--key-id-format: it has a { that begins none of"),
])
def test_a_bad_format_is_refused_with_the_reason(text, says):
    done = run_provider("--key-id-format", text)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1
