"""GET /metrics as Prometheus scrapes it, over TCP, from a real process."""

import contextlib
import hashlib
import re
import select
import socket
import subprocess
import time
import urllib.error
import urllib.request

import grpc
import pytest

from support.kms_client import KmsClient
from support.processes import DEADLINE, run_provider

SECRET = b"a plaintext that must not show!!"
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z0-9_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')


def parse(text):
    """{family: (type, {(sample name, labels as a sorted tuple): value})}, by the rules of text format 0.0.4."""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ", 3)[2]
            assert current not in families, f"{current} is there twice"
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == current
            families[name] = (kind, {})
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        assert name == current or (families[current][0] == "histogram" and name.removeprefix(current) in ("_bucket", "_sum", "_count"))
        pairs = tuple(sorted(re.findall(r'([a-z0-9_]+)="((?:[^"\\]|\\.)*)"', labels or "")))
        assert (name, pairs) not in families[current][1]
        families[current][1][name, pairs] = float(value)
    return families


@pytest.fixture
def provider(start_provider, endpoint):
    return start_provider(endpoint, "--metrics-addr", "127.0.0.1:0")


@pytest.fixture
def url(provider):
    return re.search(r"url=(\S+)", provider.wait_for_line("serving metrics")).group(1)


def scrape(url):
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()


def labels(**pairs):
    return tuple(sorted(pairs.items()))


def test_calls_latencies_faults_and_the_key(endpoint, url):
    with KmsClient(endpoint) as client:
        key_id = client.status().key_id
        client.encrypt(SECRET)
        client.encrypt(SECRET)
        run_provider("fault", "add", "decrypt-broken", "--name", 'a "name"\\', "--socket", endpoint, check=True)
        with pytest.raises(grpc.RpcError):
            client.decrypt(client.encrypt(SECRET))
    text = scrape(url)
    metrics = parse(text)
    assert SECRET.decode() not in text and key_id not in text
    kind, calls = metrics["mock_kms_calls_total"]
    assert kind == "counter"
    assert {sample: value for sample, value in calls.items() if value > 0} == {
        ("mock_kms_calls_total", labels(method="Status", code="OK")): 1,
        ("mock_kms_calls_total", labels(method="Encrypt", code="OK")): 3,
        ("mock_kms_calls_total", labels(method="Decrypt", code="INTERNAL")): 1,
    }
    assert metrics["mock_kms_faulted_calls_total"][1]["mock_kms_faulted_calls_total", labels(method="Decrypt", code="INTERNAL")] == 1
    assert metrics["mock_kms_fault_applied_total"][1] == {
        ("mock_kms_fault_applied_total", labels(fault='a \\"name\\"\\\\', origin="COMMAND")): 1}
    assert metrics["mock_kms_key_version"] == ("gauge", {("mock_kms_key_version", ()): 1})
    digest = "sha256:" + hashlib.sha256(key_id.encode()).hexdigest()
    assert metrics["mock_kms_key_info"][1] == {("mock_kms_key_info", labels(key_id_hash=digest)): 1}


def test_the_command_prints_what_a_scrape_would_get_where_nothing_is_served(start_provider, endpoint):
    start_provider(endpoint)
    with KmsClient(endpoint) as client:
        client.encrypt(SECRET)
    result = run_provider("metrics", "--socket", endpoint, check=True)
    metrics = parse(result.stdout)
    assert metrics["mock_kms_calls_total"][1]["mock_kms_calls_total", labels(method="Encrypt", code="OK")] == 1
    assert metrics["mock_kms_key_version"][1] == {("mock_kms_key_version", ()): 1}
    nobody = run_provider("metrics", "--socket", f"{endpoint}-not")
    assert nobody.returncode == 3 and nobody.stdout == ""


def test_counters_exist_with_0_from_the_start(start_provider, endpoint):
    start_provider(endpoint)
    metrics = parse(run_provider("metrics", "--socket", endpoint, check=True).stdout)
    for name in ("mock_kms_calls_total", "mock_kms_faulted_calls_total"):
        samples = metrics[name][1]
        assert set(samples.values()) == {0}
        for method in ("Status", "Encrypt", "Decrypt"):
            for code in ("OK", "UNAVAILABLE", "UNAUTHENTICATED", "HUNG"):
                assert (name, labels(method=method, code=code)) in samples


def test_a_histogram_is_cumulative_and_in_seconds(endpoint, url):
    run_provider("fault", "add", "latency", "--latency", "120ms", "--first", "1", "--socket", endpoint, check=True)
    with KmsClient(endpoint) as client:
        for _ in range(5):
            client.status()
    kind, samples = parse(scrape(url))["mock_kms_call_duration_seconds"]
    assert kind == "histogram"
    own = labels(method="Status", code="OK")
    buckets = [(float(dict(pairs)["le"]), value) for (name, pairs), value in samples.items() if name.endswith("_bucket")]
    assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets) and buckets[-1][0] == float("inf")
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert buckets[-1][1] == samples["mock_kms_call_duration_seconds_count", own] == 5
    assert dict(buckets)[0.1] <= 4
    bounds = {dict(pairs)["le"] for (name, pairs) in samples if name.endswith("_bucket")}
    assert "0.0001" in bounds and not [bound for bound in bounds if "e" in bound]
    assert samples["mock_kms_call_duration_seconds_sum", own] >= 0.12


def test_other_requests_are_refused_and_slow_clients_do_not_stop_the_provider(endpoint, url, provider):
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(url.replace("/metrics", "/"), timeout=DEADLINE)
    assert refusal.value.code == 404
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(url, data=b"x", timeout=DEADLINE)
    assert refusal.value.code == 405
    host, port = re.search(r"//([^:]+):(\d+)/", url).groups()
    with socket.create_connection((host, int(port))) as silent, KmsClient(endpoint) as client:
        silent.send(b"GET /met")
        assert client.status().healthz == "ok"
        assert provider.stop() == 0


def test_silent_clients_do_not_delay_a_scrape(endpoint, url):
    host, port = re.search(r"//([^:]+):(\d+)/", url).groups()
    with contextlib.ExitStack() as silent:
        for _ in range(80):  # more than the server keeps at once
            silent.enter_context(socket.create_connection((host, int(port))))
        begun = time.monotonic()
        assert "mock_kms_key_version" in scrape(url)
        assert time.monotonic() - begun < 1


def test_an_address_without_a_host_is_served_over_ipv4_and_ipv6(start_provider, endpoint):
    program = start_provider(endpoint, "--metrics-addr", ":0")
    port = re.search(r"url=http://\S+:(\d+)/metrics", program.wait_for_line("serving metrics")).group(1)
    hosts = ["127.0.0.1"]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        hosts.append("[::1]")
    for host in hosts:
        assert "mock_kms_key_version" in scrape(f"http://{host}:{port}/metrics")


def test_a_client_that_sends_byte_by_byte_is_dropped_after_five_seconds(endpoint, url):
    host, port = re.search(r"//([^:]+):(\d+)/", url).groups()
    begun = time.monotonic()
    with socket.create_connection((host, int(port))) as slow:
        with contextlib.suppress(ConnectionError):  # which also is the end, where a byte crosses it
            while not select.select([slow], [], [], 0.45)[0]:  # there is no answer: it is the end
                slow.send(b"x")
                assert time.monotonic() < begun + DEADLINE
        assert time.monotonic() - begun >= 5
    assert "mock_kms_key_version" in scrape(url)


def test_metrics_are_off_unless_asked_for(start_provider, endpoint):
    program = start_provider(endpoint)
    assert not [line for line in program.stderr if "metrics" in line]
    listening = subprocess.run(["ls", "-l", f"/proc/{program.pid}/fd"], capture_output=True, text=True, check=True).stdout
    with open("/proc/net/tcp") as table:
        inodes = {line.split()[9] for line in table.readlines()[1:]}
    assert not {inode for inode in re.findall(r"socket:\[(\d+)\]", listening)} & inodes


@pytest.mark.parametrize("address, says", [
    ("9090", "it has no port"),
    ("localhost:http", "its port is not a number"),
    ("::1:9090", "an IPv6 address stands in brackets"),
])
def test_a_bad_address_is_refused(endpoint, address, says):
    done = run_provider("--listen-addr", endpoint, "--metrics-addr", address)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


def test_a_port_that_is_taken_ends_the_start_with_the_reason(directory, start_provider, endpoint, url):
    address = re.search(r"//([^/]+)/", url).group(1)
    done = run_provider("--listen-addr", f"unix://{directory}/2.sock", "--metrics-addr", address)
    assert done.returncode == 1 and f"cannot listen on {address}: Address already in use" in done.stderr
