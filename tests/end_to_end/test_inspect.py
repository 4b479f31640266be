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


def inspect(value, *args, **options):
    return run_provider("inspect", *args, input=value, text=False, **options)


def report_of(value, *args):
    done = inspect(value, "-o", "json", *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["HKDF_SHA256_XNONCE_AES_GCM_SEED", "AES_GCM_KEY"])
def test_both_schemes_of_the_api_server_are_opened(kind):
    value, key_id = stored_value(TYPE.DekSourceType.Value(kind))
    report = report_of(value, "--key", KEY, "--expect-key-id", key_id)
    assert report == {
        "etcdKey": KEY, "provider": "mock-kms", "keyId": key_id, "annotations": {"format.mock-kms.test": "MQ=="},
        "dekSourceType": kind, "encryptedDekSourceBytes": 60,
        "encryptedDataBytes": len(OBJECT) + 28 + (32 if kind.startswith("HKDF") else 0),
        "dekSource": {"decryptedBy": "the published test seed", "bytes": 32},
        "object": {"bytes": len(OBJECT), "sha256": hashlib.sha256(OBJECT).hexdigest()},
        "api": "KMS v2", "problem": "",
    }


def test_json_tells_why_the_value_is_not_the_expected_one():
    value, key_id = stored_value()
    done = inspect(value, "--key", KEY, "--expect-key-id", "default/v9/00000000", "-o", "json")
    assert done.returncode == 1 and json.loads(done.stdout)["problem"] == "key_id is not the expected default/v9/00000000"
    text = inspect(value, "--header-only", "--expect-key-id", key_id)
    assert text.returncode == 0 and b"see --key" not in text.stdout


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
    lambda value: value + b"\r\n",
    lambda value: b'{"level":"warn","ts":"2026-11-29T23:00:00Z","msg":"retrying of unary invoker failed"}\n' + value + b"\n",
    lambda value: json.dumps({"header": {"revision": 5}, "kvs": [{"value": base64.b64encode(value).decode()}]}, indent=2).encode(),
    lambda value: json.dumps({"value": base64.b64encode(value).decode(), "version": 1}).encode(),
    lambda value: json.dumps(base64.b64encode(value).decode()).encode(),
], ids=["raw", "line", "key-and-value", "hex", "HEX", "escaped", "base64", "base64-lines", "CR-LF", "log-line", "pretty-json",
        "kvs[0]", "json-string"])
def test_each_form_is_found_out(form, directory):
    value, key_id = stored_value()
    (directory / "value").write_bytes(form(value))
    for source in (["--file", directory / "value"], []):
        report = report_of(b"" if source else form(value), *source, "--key", KEY)
        assert (report["keyId"], report["object"]["bytes"]) == (key_id, len(OBJECT))


def as_json(value):
    pair = {"key": base64.b64encode(KEY.encode()).decode(), "value": base64.b64encode(value).decode()}
    return json.dumps({"header": {"revision": 5}, "kvs": [pair], "count": 1}).encode()


def go_quoted(data):
    """As fmt's %q: characters as they are, other bytes as \\xNN."""
    escapes = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v", '"': '\\"', "\\": "\\\\"}
    text = ""
    for char in data.decode("utf-8", "surrogateescape"):
        if "\udc80" <= char <= "\udcff":
            text += f"\\x{ord(char) - 0xDC00:02x}"
        elif char in escapes:
            text += escapes[char]
        elif char < " " or char == "\x7f":
            text += f"\\x{ord(char):02x}"
        else:
            text += char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
    return f'"{text}"'


def as_fields(value):
    key = go_quoted(KEY.encode())
    return f'"ClusterID" : 1\n"Revision" : 5\n"Key" : {key}\n"Version" : 1\n"Value" : {go_quoted(value)}\n"Lease" : 0\n"Count" : 1\n'.encode()


def escaped(data):
    return "".join(f"\\x{byte:02x}" for byte in data).encode()


def hexdump_c(data):
    """As `hexdump -C`, which not every machine has."""
    lines = []
    for at in range(0, len(data), 16):
        row = data[at:at + 16]
        digits = row[:8].hex(" ") + "  " + row[8:].hex(" ")
        lines.append(f"{at:08x}  {digits:<49}  |{''.join(chr(c) if 32 <= c < 127 else '.' for c in row)}|")
    return "\n".join([*lines, f"{len(data):08x}", ""]).encode()


def xxd(data):
    lines = []
    for at in range(0, len(data), 16):
        row = data[at:at + 16]
        lines.append(f"{at:08x}: {row.hex(' ', -2):<39}  {''.join(chr(c) if 32 <= c < 127 else '.' for c in row)}\n")
    return "".join(lines).encode()


RAW = KEY.encode() + b"\n%b\n"


@pytest.mark.parametrize("form", [
    as_json, as_fields,
    lambda value: escaped(KEY.encode()) + b"\n" + escaped(value) + b"\n",
    lambda value: hexdump_c(RAW % value),
    lambda value: xxd(RAW % value),
    lambda value: (RAW % value).hex().encode(),
    lambda value: base64.b64encode(RAW % value),
    lambda value: KEY.encode() + b"\r\n" + value + b"\r\n",
], ids=["json", "fields", "hex-lines", "hexdump", "xxd", "hex", "base64", "CR-LF"])
def test_the_key_is_known_in_each_form_that_has_it(form):
    for plaintext in (OBJECT, b"k8s\x00" + bytes(400)):
        dek = os.urandom(32)
        value, key_id = stored_value(dek_source=dek, encrypted_data=seal_object(dek, TYPE.HKDF_SHA256_XNONCE_AES_GCM_SEED, plaintext=plaintext))
        report = report_of(form(value))
        assert (report["etcdKey"], report["keyId"], report["object"]["bytes"]) == (KEY, key_id, len(plaintext))


def test_repeated_lines_of_a_dump_are_filled_in():
    value, _ = stored_value(annotations={"a.b": bytes(100)})
    shortened, last = [], None
    for line in hexdump_c(value).decode().splitlines():
        if last and line[8:] == last[8:]:
            if shortened[-1] != "*":
                shortened.append("*")
        else:
            shortened.append(line)
            last = line
    assert "*" in shortened
    assert report_of("\n".join(shortened).encode(), "--header-only")["annotations"]["a.b"] == base64.b64encode(bytes(100)).decode()


@pytest.mark.parametrize("form", [
    lambda raw: raw + raw,
    lambda raw: raw + b"/registry/secrets/default/plain\nk8s\x00\x0a\n",
    lambda raw: base64.b64encode(raw + raw),
    lambda raw: b"".join(escaped(line) + b"\n" for line in raw.split(b"\n", 1) * 2),
    lambda raw: json.dumps({"kvs": [{"value": ""}, {"value": ""}]}).encode(),
    lambda raw: b'"Key" : "/a"\n"Value" : "x"\n"Key" : "/b"\n"Value" : "y"\n',
], ids=["raw", "raw-and-plain", "base64", "hex-lines", "json", "fields"])
def test_several_values_are_refused_by_name(form):
    value, _ = stored_value()
    done = inspect(form(RAW % value))
    assert done.returncode == 2, done
    assert b"there is more than one value; give one: etcdctl get KEY, without --prefix" in done.stderr


def test_a_value_that_a_terminal_or_an_editor_changed_says_so():
    value, _ = stored_value()
    through_terminal = inspect((RAW % value).replace(b"\n", b"\r\n"))
    assert through_terminal.returncode == 2
    assert b"the value came through a terminal, which changed its line feeds; run the command without a terminal" in through_terminal.stderr
    pasted = inspect(value.decode(errors="replace").encode())
    assert pasted.returncode == 2 and b"it was copied as text" in pasted.stderr


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
    assert f"this seed does not decrypt the DEK source: key_id {key_id} belongs to another seed".encode() in done.stderr


def test_the_file_is_an_argument_or_an_option(directory):
    value, _ = stored_value()
    (directory / "value").write_bytes(value)
    for options in ([directory / "value"], ["--file", directory / "value"]):
        done = run_provider("inspect", *options, "--header-only")
        assert done.returncode == 0 and "key_id" in done.stdout, done.stderr


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
    assert done.stderr.startswith(f"mock-kms-provider: the plugin at {endpoint}, which --socket names, does not decrypt the DEK source: ".encode())
    by_variable = inspect(damaged, "--key", KEY, env={**os.environ, "MOCK_KMS_SOCKET": endpoint})
    assert f"the plugin at {endpoint}, which MOCK_KMS_SOCKET names, ".encode() in by_variable.stderr and b"--seed-file" in by_variable.stderr
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
    (b"k8s:enc:kms:v1:old:\x00\x20", [], 2, "the value is damaged: it ends within its encrypted DEK"),
    (b"k8s:enc:aescbc:v1:key1:\x00", [], 1, "the value is encrypted by 'aescbc', not by a KMS"),
    (b"k8s:enc:secretbox:v1:key1:\x00", [], 1, "the value is encrypted by 'secretbox', not by a KMS"),
    (b"hello\x1b[2J", [], 2, "standard input: this is not a value from etcd: it begins with 'hello\\x1b[2J'; use: etcdctl get KEY --print-value-only"),
    (b"hello", ["--encoding", "raw"], 2, "this is not a value from etcd: it begins with 'hello'; use: etcdctl get KEY"),
    (b"", [], 2, "standard input: there is no value: nothing was read"),
    (b"\n", [], 2, "standard input: there is no value: nothing was read"),
    (b'{"header":{"revision":5}}', [], 2, "standard input: etcd has no such key"),
    (b'{"header":{"revision":5},"kvs":[]}', [], 2, "standard input: etcd has no such key"),
    (b'"ClusterID" : 1\n"Revision" : 5\n"More" : false\n"Count" : 0\n', [], 2, "standard input: etcd has no such key"),
    (b'{"a": 1}', [], 2, "standard input: this JSON is neither an answer of etcdctl nor an object"),
    (b'{"kvs": [', [], 2, "standard input: the input begins like JSON and is not valid JSON"),
    (b'{"level":"warn","ts":"2026","msg":"retrying of unary invoker failed"}\n', [], 2, "standard input: there is no value"),
    (b"Error: context deadline exceeded\n", [], 2, "standard input: this is an error of etcdctl: Error: context deadline exceeded"),
    (b"0000000 386b 3a73 6e65\n0000006\n", [], 2, "standard input: this is not a value from etcd: it begins with '0000000 386b"),
    (b"00000000  6b 38 73 3a  |k8s:|\n00000010\n", [], 2, "standard input: the dump has a gap; use: etcdctl get KEY"),
    (b"k8s:enc:km", [], 2, "the value is damaged: it ends within its prefix; "),
    (b"k8s:enc:kms:v", [], 2, "the value is damaged: it ends within its prefix; "),
    (b"k8s:enc:kms:v2:mock", [], 2, "the value is damaged: it ends within the provider's name; "),
    (b"k8s:enc:kms:v2:mock:", [], 2, "the value is damaged: it has no encrypted data; "),
    (b"k8s:enc:kms:v2:mock:" + b"\xff" * 9, [], 2, "the value is damaged: the 9 bytes after the provider's name are not an EncryptedObject; "),
    (b"6b38733a656e633a6", [], 2, "standard input: the value is not hex: it has an odd number of digits; it may have been cut off"),
    (b"xyz", ["--encoding", "hex"], 2, "standard input: the value is not hex: it has characters that are not hexadecimal digits"),
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
