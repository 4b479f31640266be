"""Runs each benchmark program for an instant and checks that its figures add up. Asserts no time."""

import json
import pathlib
import signal
import subprocess
import sys

import pytest

from support import processes
from support.processes import Program, binary

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from runner import figures, load  # noqa: E402


@pytest.fixture
def directory():
    made = processes.short_directory()
    yield made
    processes.remove(made)


@pytest.fixture
def endpoint(directory):
    return f"unix://{directory}/kms.sock"


@pytest.fixture
def provider(endpoint):
    with Program(binary("mock-kms-provider"), "serve", "--listen-addr", endpoint) as program:
        program.wait_for_line("started")
        yield program


def lines_of(name, *arguments, code=0, **run):
    done = subprocess.run([binary(name), *arguments], capture_output=True, text=True, timeout=60, **run)
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_load_counts_calls_and_no_errors(provider, endpoint):
    (seen,) = lines_of("bench-load", "--socket", endpoint, "--in-flight", "8", "--connections", "2",
                       "--warm-up", "10ms", "--window", "100ms", "--server-pid", str(provider.pid))
    assert seen["calls"] > 0 and seen["errors"] == 0
    assert 0 < seen["p50_us"] <= seen["p99_us"] <= seen["max_us"]
    assert seen["server_cpu_seconds"] > 0


def test_load_fails_where_no_call_succeeds(directory):
    (seen,) = lines_of("bench-load", "--socket", f"unix://{directory}/none", "--warm-up", "0s", "--window", "10ms", code=1)
    assert seen["calls"] == 0 and seen["errors"] == 1 and seen["first_error"].startswith("DEADLINE_EXCEEDED")


@pytest.mark.parametrize("clients, seconds", [(200, 20)])
def test_no_promise_is_broken_while_many_clients_call_and_the_key_rotates(provider, endpoint, clients, seconds):
    (seen,) = lines_of("bench-consistency", "--socket", endpoint, "--clients", str(clients), "--rotate-every", "100ms",
                       "--window", f"{seconds}s", "--server-pid", str(provider.pid))
    assert seen["calls"] > clients and seen["rotations"] > seconds
    assert (seen["disagreements"], seen["wrong_plaintexts"], seen["failed"]) == (0, 0, 0)
    # The caches are bounded, and full after a third of the calls. A leak of 100 bytes a call would be far more than 4 MiB.
    assert seen["own_memory_kib_at_the_end"] - seen["own_memory_kib_after_a_third"] < 4096


def test_a_broken_promise_would_be_seen(provider, endpoint):
    subprocess.run([binary("mock-kms-provider"), "fault", "add", "key-id-disagrees", "--socket", endpoint], check=True)
    (seen,) = lines_of("bench-consistency", "--socket", endpoint, "--clients", "4", "--rotate-every", "1h", "--window", "500ms", code=1)
    assert seen["disagreements"] > 0
    subprocess.run([binary("mock-kms-provider"), "fault", "clear", "--socket", endpoint], check=True)
    subprocess.run([binary("mock-kms-provider"), "fault", "add", "plaintext-wrong", "--socket", endpoint], check=True)
    (seen,) = lines_of("bench-consistency", "--socket", endpoint, "--clients", "4", "--window", "500ms", code=1)
    assert seen["wrong_plaintexts"] > 0


def test_first_answer_is_not_before_the_socket_listens(endpoint):
    seen = lines_of("bench-first-answer", "--socket", endpoint, "--repeat", "2", "--",
                    binary("mock-kms-provider"), "serve", "--listen-addr", endpoint)
    assert len(seen) == 2
    assert all(0 < start["listening_ms"] < start["first_answer_ms"] for start in seen)


def test_first_answer_says_when_the_command_ends_without_one(endpoint):
    assert lines_of("bench-first-answer", "--socket", endpoint, "--", "true", code=1) == []


def test_outage_client_is_answered_after_a_kill_by_the_next_plugin(provider, endpoint):
    with subprocess.Popen([binary("bench-outage"), "--socket", endpoint], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert json.loads(client.stdout.readline()) == {"ready": True}
        client.stdin.write(f"mark\nkill {provider.pid} {int(signal.SIGKILL)}\n")
        client.stdin.flush()
        assert json.loads(client.stdout.readline())["failed"] == 0
        provider.wait()
        with Program(binary("mock-kms-provider"), "serve", "--listen-addr", endpoint):
            seen = json.loads(client.stdout.readline())
            client.stdin.close()
            assert client.wait(30) == 0
    assert seen["outage_ms"] > seen["refusing_ms"] > 0 and seen["failed"] <= 1


def test_echo_server_takes_the_same_load(endpoint):
    with Program(binary("bench-echo-server"), "--listen-addr", endpoint):
        (seen,) = lines_of("bench-load", "--socket", endpoint, "--warm-up", "500ms", "--window", "50ms")
    assert seen["calls"] > 0 and seen["errors"] == 0


def test_bench_run_tries_parts_and_prints_their_tables():
    done = subprocess.run([BENCH / "run", "--quick", "--bin", pathlib.Path(binary("bench-load")).parent, "load", "consistency", "footprint"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "| plain gRPC C++ |" in done.stdout and "| supervisor |" in done.stdout
    assert "| 200 |" in done.stdout


def test_bench_run_names_the_parts_that_there_are():
    done = subprocess.run([BENCH / "run", "speed"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "there are build, fetch, start" in done.stderr


def test_a_ratio_is_of_pairs():
    assert figures.ratio([2, 9], [1, 3]) == "2.50"
    assert figures.spread([3, 1, 2]) == "2.00 (1.00-3.00)"


def test_a_table_has_a_row_for_each_server_and_shape():
    fields = dict.fromkeys(("calls_per_second", "p50_us", "p99_us", "calls_per_server_cpu_second"), 1.0)
    runs = [{"server": server, "in_flight": shape[0], "connections": shape[1], "errors": 0, **fields}
            for shape in load.SHAPES for server in ("provider", "plain")]
    assert len(load.render({"runs": runs}).splitlines()) == 2 + 3 * len(load.SHAPES)


@pytest.mark.parametrize("part", ["start", "restarts", "load", "consistency", "report"])
def test_a_part_of_bench_run_measures_and_makes_its_table(part):
    done = subprocess.run([sys.executable, BENCH / "run", "--quick", "--bin", pathlib.Path(binary("supervisor")).parent, part],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| ")
