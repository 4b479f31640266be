"""`inspect --etcd` against a real etcd: one key, and a table of all keys below a prefix."""

import json
import os
import re
import shutil
import socket
import subprocess
import time

import grpc
import pytest

from end_to_end.test_inspect import KEY, OBJECT, stored_value
from support.processes import SANITIZED, Program, binary, run_provider
from support.tls import Authority

pytestmark = pytest.mark.skipif(shutil.which("etcd") is None and not os.environ.get("CI"), reason="etcd is not installed")


def field(number, value):
    """A field of protobuf that holds bytes."""
    size, length = len(value), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Etcd:
    """A server of its own, over TLS with client certificates if there is an authority."""

    def __init__(self, directory, authority=None):
        scheme, files, self.credentials = "http", [], None
        self.options = []
        if authority:
            scheme = "https"
            cert, key = authority.certificate("localhost")
            files = ["--cert-file", cert, "--key-file", key, "--trusted-ca-file", authority.ca, "--client-cert-auth"]
            self.options = ["--etcd-cacert", authority.ca, "--etcd-cert", cert, "--etcd-key", key]
            self.credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key.read_bytes(), cert.read_bytes())
        self.port = free_port()
        url = f"{scheme}://127.0.0.1:{self.port}"
        peer = f"http://127.0.0.1:{free_port()}"
        self.server = Program(shutil.which("etcd"), "--data-dir", directory / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
                              "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", *files)
        self.server.wait_for_line("ready to serve client requests")
        self.address = f"localhost:{self.port}"
        channel = grpc.secure_channel(self.address, self.credentials) if authority else grpc.insecure_channel(self.address)
        self._txn = channel.unary_unary("/etcdserverpb.KV/Txn")
        self._channel = channel

    def put(self, pairs):
        """Up to 128 pairs at once, which is etcd's limit."""
        puts = b"".join(field(2, field(2, field(1, key.encode()) + field(2, value))) for key, value in pairs)
        self._txn(puts, timeout=60, wait_for_ready=True)

    def inspect(self, *args):
        return run_provider("inspect", "--etcd", self.address, *self.options, *args, timeout=120)

    def close(self):
        self._channel.close()
        self.server.stop()


@pytest.fixture
def etcd(directory):
    made = Etcd(directory, Authority(directory / "ca"))
    yield made
    made.close()


@pytest.fixture
def plain_etcd(directory):
    made = Etcd(directory)
    yield made
    made.close()


PLAIN = b"k8s\x00\n\x0c\n\x02v1\x12\x06Secret"


def test_one_key_is_read_over_tls_with_a_client_certificate(etcd):
    value, key_id = stored_value()
    etcd.put([(KEY, value)])
    done = etcd.inspect("--key", KEY, "-o", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["etcdKey"], report["keyId"], report["object"]["bytes"]) == (KEY, key_id, len(OBJECT))
    absent = etcd.inspect("--key", KEY + "2")
    assert absent.returncode == 2 and f"etcd has no such key: {KEY}2; list the keys" in absent.stderr


def test_a_table_counts_by_kms_provider_and_key_id(plain_etcd):
    first, key_id = stored_value()
    second, _ = stored_value(key_id="default/v2/e1d6c1f0")
    plain_etcd.put([(f"/registry/secrets/a/{i}", first) for i in range(3)] + [("/registry/secrets/b/1", second), ("/registry/secrets0/no", PLAIN)])
    done = plain_etcd.inspect("--prefix", "/registry/secrets/")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["OBJECTS", "ENCRYPTION", "PROVIDER", "KEY", "ID"],
        ["3", "KMS", "v2", "mock-kms", key_id], ["1", "KMS", "v2", "mock-kms", "default/v2/e1d6c1f0"]]
    other = plain_etcd.inspect("--prefix", "/registry/secrets/", "--expect-key-id", key_id)
    assert other.returncode == 1 and f"1 of 4 objects are not encrypted by a KMS under {key_id}" in other.stderr
    plain_etcd.put([("/registry/secrets/c/plain", PLAIN), ("/registry/secrets/c/cbc", b"k8s:enc:aescbc:v1:key1:x"),
                    ("/registry/secrets/c/cut", first[:60])])
    done = plain_etcd.inspect("--prefix", "/registry/secrets/", "-o", "json")
    assert done.returncode == 1 and "3 of 7 objects are not encrypted by a KMS" in done.stderr
    groups = {group["encryption"]: group["objects"] for group in json.loads(done.stdout)["groups"]}
    assert groups == {"KMS v2": 1, "none": 1, "aescbc": 1, "damaged": 1}


@pytest.mark.parametrize("prefix", ["/nothing/", "/registry/secrets/a/\xff"])
def test_a_prefix_without_keys_is_bad_input(plain_etcd, prefix):
    done = plain_etcd.inspect("--prefix", prefix)
    assert done.returncode == 2 and "etcd has no key that begins with" in done.stderr


def test_large_and_small_values_are_read_in_pages(plain_etcd):
    value, _ = stored_value()
    large, _ = stored_value(encrypted_data=os.urandom(1_000_000))
    for i in range(0, 300, 100):
        plain_etcd.put([(f"/r/a{i + j:04}", value) for j in range(100)])
    for i in range(60):
        plain_etcd.put([(f"/r/b{i:04}", large)])
    plain_etcd.put([(f"/r/c{i:04}", value) for i in range(100)])
    done = plain_etcd.inspect("--prefix", "/r/", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["objects"] == 460


def test_errors_name_the_cause_and_the_next_step(etcd, directory):
    for args, says in ((("--key", KEY, "--prefix", "/r/"), "--key"), ((), "--etcd: no key is given; name a key with --key, or keys with --prefix")):
        done = etcd.inspect(*args)
        assert done.returncode == 2 and says in done.stderr, done.stderr
    done = run_provider("inspect", "--etcd", etcd.address, "--prefix", "/r/", *etcd.options[:4])
    assert done.returncode == 2 and "--etcd-cert and --etcd-key go together; give both or neither" in done.stderr
    wrong = Authority(directory / "other")
    done = run_provider("inspect", "--etcd", etcd.address, "--prefix", "/r/", "--etcd-cacert", wrong.ca)
    assert done.returncode == 1 and "the server's certificate is refused: " in done.stderr
    done = run_provider("inspect", "--etcd", etcd.address, "--prefix", "/r/")
    assert done.returncode == 3 and "a server with TLS needs --etcd-cacert" in done.stderr
    done = run_provider("inspect", "--etcd", etcd.address, "--prefix", "/r/", *etcd.options[:2])
    assert done.returncode in (1, 3) and done.stderr.count("\n") == 1
    done = run_provider("inspect", "--etcd", "localhost:1", "--prefix", "/r/")
    assert done.returncode == 3 and "cannot connect to etcd at localhost:1: Connection refused" in done.stderr
    done = run_provider("inspect", "--prefix", "/r/")
    assert done.returncode == 2 and "--prefix reads an etcd, and none is given; name it with --etcd HOST:PORT" in done.stderr


def test_a_hundred_thousand_objects_are_counted_quickly_in_bounded_memory(plain_etcd):
    value, key_id = stored_value()
    for start in range(0, 100_000, 125):
        plain_etcd.put([(f"/registry/secrets/n/{start + i:06}", value) for i in range(125)])
    begun = time.monotonic()
    done = subprocess.Popen([binary("mock-kms-provider"), "inspect", "--etcd", plain_etcd.address, "--prefix", "/registry/secrets/"],
                            stdout=subprocess.PIPE, text=True)
    text = done.stdout.read()
    _, status, usage = os.wait4(done.pid, 0)
    took = time.monotonic() - begun
    done.returncode = os.waitstatus_to_exitcode(status)
    assert done.returncode == 0
    assert re.search(rf"^100000 +KMS v2 +mock-kms +{key_id}$", text, re.M), text
    if not SANITIZED:
        assert took < 10
        assert usage.ru_maxrss < 100_000  # KiB
    print(f"100,000 objects in {took:.2f} s, {usage.ru_maxrss} KiB")
