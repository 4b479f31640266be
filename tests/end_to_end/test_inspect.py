"""`inspect` on values that Python's cryptography sealed as kube-apiserver does, under keys of the provider."""

import base64
import hashlib
import json
import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from proto import etcd_value_pb2
from support.kms_client import KmsClient
from support.processes import run_provider

KEY = "/registry/secrets/default/probe"
OBJECT = b'k8s\x00{"the object"}' + bytes(range(256))
TYPE = etcd_value_pb2.EncryptedObject


def field(text):
    return len(text).to_bytes(4, "big") + text


def provider_seals(plaintext, seed=hashlib.sha256(b"mock-kms-provider published test seed").digest(), instance="default",
                   version=1):
    """An Encrypt of the provider by another implementation: (ciphertext, key_id, annotations)."""

    def derive(purpose, length):
        info = field(purpose) + field(instance.encode()) + field(str(version).encode())
        return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(seed)

    key_id = f"{instance}/v{version}/{derive(b'mock-kms key check', 4).hex()}"
    nonce = os.urandom(12)
    bound = field(b"mock-kms sealed value") + field(b"1") + field(instance.encode()) + field(key_id.encode())
    sealed = nonce + AESGCM(derive(b"mock-kms key encryption key", 32)).encrypt(nonce, plaintext, bound)
    return sealed, key_id, {"format.mock-kms.test": b"1"}


def seal_object(dek_source, kind, key=KEY, plaintext=OBJECT):
    nonce = os.urandom(12)
    if kind == TYPE.AES_GCM_KEY:
        return nonce + AESGCM(dek_source).encrypt(nonce, plaintext, key.encode())
    info = os.urandom(32)
    dek = HKDFExpand(hashes.SHA256(), 32, info).derive(dek_source)
    return info + nonce + AESGCM(dek).encrypt(nonce, plaintext, key.encode())


def stored_value(kind=TYPE.HKDF_SHA256_XNONCE_AES_GCM_SEED, sealed=None, dek_source=None, **changes):
    """As in etcd, and its key_id."""
    dek_source = dek_source or os.urandom(32)
    ciphertext, key_id, annotations = sealed or provider_seals(dek_source)
    fields = dict(encrypted_data=seal_object(dek_source, kind), key_id=key_id, encrypted_dek_source=ciphertext,
                  annotations=annotations, dek_source_type=kind)
    message = etcd_value_pb2.EncryptedObject(**{**fields, **changes})
    return b"k8s:enc:kms:v2:mock-kms:" + message.SerializeToString(), key_id


def inspect(value, *args):
    return run_provider("inspect", *args, input=value, text=False)


def report_of(value, *args):
    done = inspect(value, "-o", "json", *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["HKDF_SHA256_XNONCE_AES_GCM_SEED", "AES_GCM_KEY"])
def test_both_schemes_of_the_api_server_are_opened(kind):
    value, key_id = stored_value(TYPE.DekSourceType.Value(kind))
    report = report_of(value, "--key", KEY, "--expect-key-id", key_id)
    assert report == {
        "etcdKey": KEY, "providerName": "mock-kms", "keyId": key_id, "annotations": {"format.mock-kms.test": "MQ=="},
        "dekSourceType": kind, "encryptedDekSourceBytes": 60,
        "encryptedDataBytes": len(OBJECT) + 28 + (32 if kind.startswith("HKDF") else 0),
        "dekSource": {"decryptedBy": "the published test seed", "bytes": 32},
        "object": {"bytes": len(OBJECT), "sha256": hashlib.sha256(OBJECT).hexdigest(), "plaintext": ""},
    }


def test_the_plaintext_shows_only_when_it_is_revealed():
    secret = b"the password is hunter2"
    dek = os.urandom(32)
    value, _ = stored_value(dek_source=dek, encrypted_data=seal_object(dek, TYPE.HKDF_SHA256_XNONCE_AES_GCM_SEED, plaintext=secret))
    for arguments in ([], ["-o", "json"]):
        shown = inspect(value, "--key", KEY, *arguments)
        assert shown.returncode == 0 and b"hunter2" not in shown.stdout + shown.stderr
        assert base64.b64encode(secret) not in shown.stdout
    assert b"\nplaintext    the password is hunter2\n" in inspect(value, "--key", KEY, "--reveal").stdout
    assert base64.b64decode(report_of(value, "--key", KEY, "--reveal")["object"]["plaintext"]) == secret
    assert inspect(value, "--reveal").returncode == 2
    assert inspect(value, "--reveal", "--header-only", "--key", KEY).returncode == 2


@pytest.mark.parametrize("form", [
    lambda value: value,
    lambda value: value + b"\n",
    lambda value: KEY.encode() + b"\n" + value + b"\n",
    lambda value: value.hex().encode(),
    lambda value: b"\n" + value.hex(" ").upper().encode() + b"\n",
    lambda value: "".join(f"\\x{byte:02x}" for byte in value).encode() + b"\n",
    base64.b64encode,
    base64.encodebytes,
], ids=["raw", "line", "key-and-value", "hex", "HEX", "escaped", "base64", "base64-lines"])
def test_each_form_is_found_out(form, directory):
    value, key_id = stored_value()
    (directory / "value").write_bytes(form(value))
    for source in (["--file", directory / "value"], []):
        report = report_of(b"" if source else form(value), *source, "--key", KEY)
        assert (report["keyId"], report["object"]["bytes"]) == (key_id, len(OBJECT))


def test_the_key_before_the_value_is_taken():
    value, _ = stored_value()
    assert report_of(KEY.encode() + b"\n" + value + b"\n")["object"]["bytes"] == len(OBJECT)
    assert "object" not in report_of(value)  # there the key is not known


def test_by_a_seed_file_an_instance_and_any_version(directory):
    seed, dek = os.urandom(32), os.urandom(32)
    (directory / "seed").write_bytes(seed)
    value, key_id = stored_value(sealed=provider_seals(dek, seed, "blue", 7), dek_source=dek)
    report = report_of(value, "--key", KEY, "--seed-file", directory / "seed")
    assert report["keyId"] == key_id and key_id.startswith("blue/v7/")
    assert report["dekSource"]["decryptedBy"] == f"the seed of {directory}/seed"
    assert report["object"]["bytes"] == len(OBJECT)
    done = inspect(value, "--key", KEY)
    assert done.returncode == 1
    assert b"DEK source   not decrypted" in done.stdout
    assert f"does not open by this seed: key_id {key_id} belongs to another seed".encode() in done.stderr


def test_by_a_running_plugin(start_provider, endpoint, directory):
    (directory / "seed").write_bytes(os.urandom(32))
    start_provider(endpoint, "--seed-file", directory / "seed")
    dek = os.urandom(32)
    with KmsClient(endpoint) as client:
        answer = client.encrypt(dek)
        value, key_id = stored_value(sealed=(answer.ciphertext, answer.key_id, dict(answer.annotations)), dek_source=dek)
        assert report_of(value, "--key", KEY, "--socket", endpoint)["object"]["bytes"] == len(OBJECT)
        damaged, _ = stored_value(sealed=(answer.ciphertext[:-1] + b"?", answer.key_id, dict(answer.annotations)), dek_source=dek)
    done = inspect(damaged, "--key", KEY, "--socket", endpoint)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1) and b"Decrypt: INVALID_ARGUMENT" in done.stderr
    assert inspect(value, "--socket", f"{endpoint}.none").returncode == 3


def test_the_key_that_one_thinks_or_another():
    value, key_id = stored_value()
    assert inspect(value, "--expect-key-id", key_id).returncode == 0
    other = inspect(value, "--expect-key-id", "default/v2/e1d6c1f0")
    assert other.returncode == 1
    assert other.stderr == b"mock-kms-provider: key_id is not the expected default/v2/e1d6c1f0\n"
    assert key_id.encode() in other.stdout
    assert inspect(value, "--expect-key-id", "default/v2/e1d6c1f0", "--header-only").returncode == 1


def test_a_value_of_another_place_does_not_open():
    value, _ = stored_value()
    done = inspect(value, "--key", KEY + "2")
    assert done.returncode == 1
    assert b"the object does not open as the one at " + KEY.encode() + b"2;" in done.stderr


def test_the_header_of_a_foreign_plugin_is_shown():
    value, _ = stored_value(key_id="vault:v1", annotations={})
    done = inspect(value, "--header-only")
    assert done.returncode == 0
    assert b"key_id       vault:v1\nannotations  none\n" in done.stdout


@pytest.mark.parametrize("value, args, code, line", [
    (b"k8s\x00\x0a\x0c", [], 1, "the value is not encrypted: it is a Kubernetes object as protobuf"),
    (b'{"kind":"Secret"}', [], 1, "the value is not encrypted: it begins as JSON"),
    (base64.b64encode(b'{"kind":"Secret"}'), [], 1, "the value is not encrypted: it begins as JSON"),
    (b"k8s:enc:kms:v1:old:\x00\x20", [], 1, "the value is encrypted by KMS v1; only values of KMS v2 can be inspected"),
    (b"k8s:enc:aescbc:v1:key1:\x00", [], 1, "the value is encrypted by 'aescbc', not by KMS v2"),
    (b"k8s:enc:secretbox:v1:key1:\x00", [], 1, "the value is encrypted by 'secretbox', not by KMS v2"),
    (b"hello\x1b[2J", [], 1, "the value does not begin with k8s:enc:, but with 'hello\\x1b[2J'; name its --encoding if it is no raw value"),
    (b"", [], 2, "there is no value: nothing was read"),
    (b"k8s:enc:kms:v2:mock", [], 2, "the value is damaged: it ends within the provider's name; "),
    (b"k8s:enc:kms:v2:mock:", [], 2, "the value is damaged: it has no encrypted data; "),
    (b"k8s:enc:kms:v2:mock:" + b"\xff" * 9, [], 2, "the value is damaged: behind the provider's name stand 9 bytes that are no EncryptedObject; "),
    (b"6b38733a656e633a6", [], 2, "standard input: the value is not hex: it has an odd number of digits; it may have been cut off"),
    (b"xyz", ["--encoding", "hex"], 2, "standard input: the value is not hex: it has other characters than hexadecimal digits"),
    (b"!!", ["--encoding", "base64"], 2, "standard input: the value is not base64; it may have been cut off"),
    (b"", ["--file", "/nonexistent"], 2, "cannot read /nonexistent: No such file or directory"),
    (b"", ["--encoding", "rot13"], 2, "--encoding: "),
])
def test_bad_input_is_one_line_that_names_the_cause(value, args, code, line):
    done = inspect(value, *args)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (code, b"", 1)
    assert done.stderr.decode().startswith("mock-kms-provider: " + line)


@pytest.mark.parametrize("changes, line", [
    ({"encrypted_data": b""}, "it has no encrypted data"),
    ({"encrypted_dek_source": b""}, "it has no encrypted DEK source"),
    ({"encrypted_dek_source": bytes(1025)}, "its encrypted DEK source is larger than 1024 bytes"),
    ({"key_id": ""}, "it has no key_id"),
    ({"key_id": "k" * 1025}, "its key_id is longer than 1024 bytes"),
    ({"dek_source_type": 2}, "it has a DEK source of type 2, and 0 and 1 are known"),
])
def test_what_the_api_server_would_refuse_is_damaged(changes, line):
    done = inspect(stored_value(**changes)[0])
    assert done.returncode == 2 and line in done.stderr.decode()


def test_every_truncation_is_refused_without_a_crash():
    value, _ = stored_value()
    for size in range(len(value)):
        assert inspect(value[:size], "--encoding", "raw", "--key", KEY).returncode in (1, 2)


@pytest.mark.parametrize("dek_size, data, line", [
    (16, None, "the seed has 16 bytes, and the API server's have 32"),
    (32, bytes(31), "the encrypted data is too short: 31 bytes"),
    (32, bytes(59), "the encrypted data is too short: 27 bytes"),
])
def test_sizes_that_the_api_server_never_makes(dek_size, data, line):
    dek = os.urandom(dek_size)
    changes = {"encrypted_data": data} if data is not None else {}
    done = inspect(stored_value(dek_source=dek, **changes)[0], "--key", KEY)
    assert done.returncode == 1 and line in done.stderr.decode()
