"""Faults by command, as the API server and the supervisor meet them. Rule numbers are those of the KMS v2 contract."""

import datetime
import json
import os
import re
import signal
import time

import grpc
import pytest

from proto import kms_v2_pb2 as v2
from support.kms_client import KmsClient, code_of, outcomes_of
from support.processes import DEADLINE, Program, binary, run, run_provider, wait_until_stopped

SECRET = bytes(range(32))
CODE = grpc.StatusCode


@pytest.fixture
def fault(endpoint):
    def call(*args):
        done = run_provider("fault", *args, "--socket", endpoint)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return call


def test_a_disabled_key_and_its_recovery(client, fault):
    assert fault("add", "key-disabled", "--name", "off") == "off"
    for call in (client.status, lambda: client.encrypt(SECRET)):
        assert code_of(call) == (CODE.FAILED_PRECONDITION, "key disabled")
    assert fault("clear", "off") == "cleared 1"
    assert client.decrypt(client.encrypt(SECRET)) == SECRET


def test_any_code_and_text_for_the_methods_patterns_and_counts_that_are_asked_for(client, fault):
    fault("add", "error", "--code", "data-loss", "--text", "lost", "--method", "decrypt", "--uid", "bad*", "--every", 2)
    sealed = client.encrypt(SECRET, uid="bad")
    assert client.decrypt(sealed, uid="bad-1") == SECRET
    assert code_of(client.decrypt, sealed, uid="bad-2") == (CODE.DATA_LOSS, "lost")
    assert client.decrypt(sealed, uid="good") == SECRET
    listed = json.loads(fault("list", "-o", "json"))["faults"]
    assert [(use["matched"], use["applied"]) for use in listed] == [(2, 1)]


def test_options_of_add_have_variables_and_the_option_wins(client, endpoint):
    env = {**os.environ, "MOCK_KMS_NAME": "of-the-variable", "MOCK_KMS_METHOD": "decrypt", "MOCK_KMS_SOCKET": endpoint}
    assert run_provider("fault", "add", "unavailable", env=env).stdout == "of-the-variable\n"
    assert run_provider("fault", "add", "unavailable", "--name", "of-the-option", env=env).stdout == "of-the-option\n"
    sealed = client.encrypt(SECRET)
    assert code_of(client.decrypt, sealed)[0] == CODE.UNAVAILABLE


def test_help_explains_each_word(endpoint):
    """In columns: a word that is too long for its column would run into its text."""
    text = run_provider("fault", "add", "--help").stdout
    rows = re.findall(r"^  ([a-z][a-z0-9-]+)(.*)$", text[text.index("Effects:"):text.index("Examples:")], re.MULTILINE)
    assert len(rows) > 40 and {"key-id-flapping", "kubernetes-mock-failed", "goaway"} <= {word for word, _ in rows}
    assert all(re.match(r" +\S", rest) and len(word) + len(rest) - len(rest.lstrip()) == 24 for word, rest in rows), rows


def test_latency_delays_the_calls_and_nothing_else_waits_for_them(client, fault):
    fault("add", "latency", "--latency", "2s", "--method", "encrypt")
    begun = time.monotonic()
    slow = client.stub.Encrypt.future(v2.EncryptRequest(plaintext=SECRET, uid="u"), timeout=DEADLINE)
    client.status()
    assert not slow.done()
    assert client.decrypt(slow.result()) == SECRET
    assert time.monotonic() - begun >= 2


def test_methods_are_separated_by_commas_too(client, fault):
    fault("add", "unavailable", "--method", "status,encrypt")
    assert code_of(client.status)[0] == code_of(client.encrypt, SECRET)[0] == CODE.UNAVAILABLE
    assert json.loads(fault("list", "-o", "json"))["faults"][0]["fault"]["methods"] == ["STATUS", "ENCRYPT"]


def test_a_call_that_hangs_ends_at_the_clients_deadline_and_not_before(client, fault, endpoint, provider):
    fault("add", "network-partition", "--method", "status")
    begun = time.monotonic()
    with KmsClient(endpoint, timeout=0.3) as hasty:
        assert code_of(hasty.status)[0] == CODE.DEADLINE_EXCEEDED
    assert time.monotonic() - begun >= 0.3
    assert client.encrypt(SECRET).key_id
    assert provider.stop() == 0  # with calls that still hang


def test_a_rate_limit_refuses_what_comes_faster(client, fault):
    fault("add", "throttled")
    outcomes = outcomes_of(client, 50)  # in less than 50 s, however busy the machine
    assert outcomes[0] == "ok" and set(outcomes) == {"ok", CODE.RESOURCE_EXHAUSTED}


def test_a_burst_passes_a_rate_limit(client, fault):
    fault("add", "rate-limit", "--per-second", "0.001", "--burst", 3)
    assert [client.status().healthz for _ in range(3)] == ["ok"] * 3
    assert code_of(client.status)[0] == CODE.RESOURCE_EXHAUSTED


def test_only_calls_of_a_key_id_that_fits(client, fault, endpoint):
    old = client.encrypt(SECRET)
    assert run_provider("rotate", "--socket", endpoint).returncode == 0
    new = client.encrypt(SECRET)
    fault("add", "key-deleted", "--method", "decrypt", "--key-id", "default/v1/*")
    assert code_of(client.decrypt, old)[0] == CODE.NOT_FOUND
    assert client.decrypt(new) == SECRET


def test_only_an_instance_that_fits(start_provider, endpoint, fault):
    start_provider(endpoint, "--instance", "blue")
    with KmsClient(endpoint) as client:
        assert "no effect here" in fault("add", "unavailable", "--instance", "gr*")
        assert client.status().healthz == "ok"
        fault("add", "unavailable", "--instance", "bl*")
        assert code_of(client.status)[0] == CODE.UNAVAILABLE


def test_a_fault_begins_later_and_ends_by_itself(client, fault):
    fault("add", "healthz", "--text", "later", "--after", "1h", "--name", "later")
    assert client.status().healthz == "ok"
    fault("add", "healthz", "--text", "brief", "--for", "2s", "--name", "brief")
    begun = time.monotonic()
    assert client.status().healthz == "brief"
    while client.status().healthz != "ok":
        assert time.monotonic() < begun + DEADLINE
    states = [line.split()[2] for line in fault("list").splitlines()[1:]]
    assert states == ["set", "over"]


def latencies(endpoint):
    """Seconds inside the provider, of every call so far."""
    lines = run_provider("journal", "-o", "json", "--socket", endpoint).stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    return [float(entry["latency"].removesuffix("s")) for entry in entries if entry["method"]]


def test_latency_is_drawn_evenly_or_with_a_long_tail(start_provider, directory):
    for name, tail in (("even", []), ("tail", ["--long-tail"])):
        endpoint = f"unix://{directory}/{name}.sock"
        start_provider(endpoint, "--random-seed", 1)
        assert run_provider("fault", "add", "latency", "--latency", "2ms", "--latency-max", "60ms", *tail, "--name", "slow",
                   "--socket", endpoint).returncode == 0
        with KmsClient(endpoint) as client:
            for _ in range(40):
                client.status()
        seen = sorted(latencies(endpoint))
        assert seen[0] >= 0.002 and seen[-1] >= 0.03
        # Half of evenly drawn ones are above the middle of 31 ms; with a long tail half are below 4 ms.
        assert seen[20] < 0.015 if tail else seen[20] >= 0.015


def test_texts_of_healthz_and_version(client, fault):
    fault("add", "healthz", "--text", "the disk is full")
    fault("add", "version", "--text", "v3")
    assert (client.status().healthz, client.status().version) == ("the disk is full", "v3")


@pytest.mark.parametrize(
    "violation, breaks",
    [
        ("key-id-empty", lambda status, sealed: status.key_id == "" == sealed.key_id),
        ("key-id-long", lambda status, sealed: len(status.key_id) == 1025 == len(sealed.key_id)),
        ("key-id-disagrees", lambda status, sealed: "/v1/" in status.key_id and "/v2/" in sealed.key_id),
        ("ciphertext-empty", lambda status, sealed: sealed.ciphertext == b""),
        ("ciphertext-oversize", lambda status, sealed: len(sealed.ciphertext) == 1025),
        ("ciphertext-echoed", lambda status, sealed: sealed.ciphertext == SECRET),
        ("annotations-bad", lambda status, sealed: "Not A Domain" in sealed.annotations),
        ("annotations-secret", lambda status, sealed: SECRET in sealed.annotations.values()),
        ("annotations-oversize", lambda status, sealed: sum(map(len, sealed.annotations.values())) > 32 * 1024),
    ],
)
def test_each_violation_of_the_contract(client, fault, violation, breaks):
    assert not breaks(client.status(), client.encrypt(SECRET))
    fault("add", violation)
    assert breaks(client.status(), client.encrypt(SECRET))


def test_rule_13_a_key_id_that_is_not_utf_8(client, fault):
    fault("add", "key-id-not-utf8")
    status = client._channel.unary_unary("/v2.KeyManagementService/Status")(b"", timeout=3)
    with pytest.raises(UnicodeDecodeError):
        status.decode()


def test_rule_15_a_key_id_that_flaps(client, fault):
    fault("add", "key-id-flapping")
    assert ["/v1/" in client.status().key_id for _ in range(4)] == [False, True, False, True]


def test_rule_27_a_wrong_plaintext(client, fault):
    sealed = client.encrypt(SECRET)
    fault("add", "plaintext-wrong", "--first", 1)
    wrong = client.decrypt(sealed)
    assert wrong != SECRET and len(wrong) == len(SECRET)
    assert client.decrypt(sealed) == SECRET


def connections(endpoint):
    """The connection of every call so far."""
    lines = run_provider("journal", "-o", "json", "--socket", endpoint).stdout.splitlines()
    return [entry["connection"] for entry in map(json.loads, lines) if entry["method"]]


def test_a_connection_is_cut_and_one_is_told_to_go(client, fault, endpoint):
    fault("add", "reset", "--method", "status", "--first", 1)
    assert code_of(client.status)[0] == CODE.UNAVAILABLE
    assert client.status().healthz == "ok"
    before = connections(endpoint)[-1]
    fault("add", "goaway", "--first", 1)
    assert all(client.status().healthz == "ok" for _ in range(20))
    after = connections(endpoint)
    assert after[-1] != before and after.count(before) < len(after) - 2


@pytest.mark.parametrize("args, code", [(["--exit-code", 7], 7), (["--signal", "SIGSEGV"], -signal.SIGSEGV)])
def test_the_process_crashes_as_the_fault_says(client, fault, provider, args, code):
    fault("add", "crash", "--method", "encrypt", *args)
    assert client.status().healthz == "ok"
    assert code_of(client.encrypt, SECRET)[0] == CODE.UNAVAILABLE
    assert provider.wait() == code


def test_the_process_freezes_until_someone_thaws_it(client, fault, provider):
    fault("add", "frozen")
    call = client.stub.Status.future(v2.StatusRequest(), timeout=DEADLINE, wait_for_ready=True)
    wait_until_stopped(provider.pid)
    assert not call.done()
    provider.send(signal.SIGCONT)
    assert call.result().healthz == "ok"
    assert client.status().healthz == "ok"


def resident_mib(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def test_memory_grows_and_is_given_back(start_provider, fault, endpoint):
    provider = start_provider(endpoint, env={"ASAN_OPTIONS": "quarantine_size_mb=0"})  # or that sanitizer keeps it
    before = resident_mib(provider.pid)
    fault("add", "memory-growth", "--mib", 20)
    with KmsClient(endpoint) as client:
        for _ in range(3):
            client.status()
    assert resident_mib(provider.pid) >= before + 60
    fault("clear")
    assert resident_mib(provider.pid) < before + 40


def test_a_late_start_and_other_faults_from_the_command_line(start_provider, endpoint):
    begun = time.monotonic()
    with KmsClient(endpoint) as client:
        start_provider(endpoint, "--fault", '{"lateStart": "0.400s"}', "--fault", "unhealthy")
        assert time.monotonic() - begun >= 0.4
        assert client.status().healthz == "the KMS reports an internal fault"


def test_a_provider_that_waits_to_start_ends_when_it_is_told_to(endpoint):
    with Program(binary("mock-kms-provider"), "--listen-addr", endpoint, "--fault", "down-at-start") as program:
        program.wait_for_line("a fault delays the start")
        assert program.stop() == 0


def test_a_fault_of_another_node_does_nothing_here(start_provider, endpoint, fault):
    start_provider(endpoint, env={"NODE_NAME": "master-0"})
    with KmsClient(endpoint) as client:
        assert "no effect here" in fault("add", "key-disabled", "--node", "master-1")
        assert client.status().healthz == "ok"
        fault("add", "key-disabled", "--node", "master-0")
        assert code_of(client.status)[0] == CODE.FAILED_PRECONDITION


def test_the_same_seed_gives_the_same_outcome(start_provider, directory):
    outcomes = []
    for number, seed in enumerate((5, 5, 6)):
        endpoint = f"unix://{directory}/{number}.sock"
        start_provider(endpoint, "--random-seed", seed, "--fault", "flaky")
        with KmsClient(endpoint) as client:
            outcomes.append(outcomes_of(client, 60))
    assert outcomes[0] == outcomes[1] != outcomes[2]


@pytest.mark.parametrize(
    "args, says",
    [
        (["add", "no-such"], "there is no effect, violation or preset 'no-such'"),
        (["add", "eror"], "did you mean 'error'?"),
        (["add", "unavailble"], "did you mean 'unavailable'?"),
        (["add", "key-id-emty"], "did you mean 'key-id-empty'?"),
        (["add", '{"preset": "unavailble"}'], "did you mean 'unavailable'?"),
        (["add", "hang", "--every", "0"], "--every"),
        (["add", "hang", "--first", "0"], "--first"),
        (["add", "error", "--code", "NOPE"], "gRPC has no code 'NOPE'; name one such as UNAVAILABLE"),
        (["add", "error", "--code", "14"], "gRPC has no code '14'; name one such as UNAVAILABLE, NOT_FOUND or FAILED_PRECONDITION"),
        (["add", "error", "--code", "NOTFOUND"], "gRPC has no code 'NOTFOUND'; did you mean 'NOT_FOUND'?"),
        (["add", "hang", "--method", "rotate"], "there is no method 'rotate'"),
        (["add", "hang", "--probability", "2"], "--probability"),
        (["add", "latency"], "latency needs --latency or --latency-max"),
        (["add", "latency", "--latency", "1s", "--long-tail"], "--long-tail needs --latency-max"),
        (["add", "latency", "--latency", "2s", "--latency-max", "1s"], "--latency-max is less than --latency"),
        (["add", "rate-limit"], "rate-limit needs --per-second above 0"),
        (["add", "memory-growth", "--mib", "0"], "memory-growth needs --mib above 0"),
        (["add", "crash", "--signal", "SIGKIL"], "there is no signal 'SIGKIL'; did you mean 'SIGKILL'?"),
        (["add", '{"hang": {}, "lasting": "1ms"}'], "unknown field 'lasting'; did you mean 'for'?"),
        (["add", "error", "--latency", "1s"], "--latency belongs to 'latency'"),
        (["add", "key-id-empty", "--text", "x"], "--text belongs to 'error', 'healthz' and 'version'"),
        (["add", "slow", "--latency", "100ms"], "--latency has no effect on 'slow'; a preset is changed by JSON"),
        (["add", "hang", "--text", "x"], "--text belongs to 'error', 'healthz' and 'version'"),
        (["add", "down-at-start"], "serve --fault"),
        (["add", "{"], "this is not a fault"),
    ],
)
def test_bad_faults_are_refused_with_the_reason(provider, endpoint, args, says):
    done = run_provider("fault", *args, "--socket", endpoint)
    assert done.returncode == 2
    assert says in done.stderr and done.stderr.count("\n") == 1
    started = run_provider("--fault", "no-such", "--listen-addr", endpoint)
    assert started.returncode == 2 and "--fault: there is no preset" in started.stderr


def test_words_and_signals_are_taken_in_any_case(provider, endpoint):
    for words in (["Flaky"], ["Key_ID_Empty"], ["ERROR"], ["Memory-Growth"], ["crash", "--signal", "kill"], ["crash", "--signal", "sigKill"]):
        done = run_provider("fault", "add", *words, "--method", "version", "--socket", endpoint)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert done.stdout == "fault-6\n"
    assert re.search(r"^flaky-1 .*\"preset\":\"flaky\"", run_provider("fault", "list", "--socket", endpoint).stdout, re.M)


def test_the_end_of_a_fault_is_an_event_and_clear_does_not_count_it(start_provider, endpoint, fault):
    program = start_provider(endpoint)
    fault("add", "unavailable", "--name", "short", "--for", "100ms")
    fault("add", "unhealthy", "--name", "long")
    journal = []
    until = time.monotonic() + DEADLINE
    while not any("is over" in entry["event"] for entry in journal) and time.monotonic() < until:
        journal = [json.loads(line) for line in run_provider("journal", "-o", "json", "--socket", endpoint).stdout.splitlines()]
    times = {entry["event"][:16]: datetime.datetime.fromisoformat(entry["at"][:23]) for entry in journal}
    assert [entry["event"] for entry in journal if "is over" in entry["event"]] == ["fault short is over after 100ms"]
    lasted = (times["fault short is o"] - times["fault short is s"]).total_seconds()
    assert 0.09 < lasted < 0.2  # its own time, however late somebody looks
    program.wait_for_line("a fault is over fault=short lasted=100ms")
    assert re.search(r"^short +command +over ", fault("list"), re.M)
    assert fault("clear") == "cleared 1; 1 was over already"


def test_the_help_of_fault_add_lists_every_option_with_examples():
    text = run_provider("fault", "add", "--help").stdout
    assert "Examples:" in text and "mock-kms-provider fault add error --code NOT_FOUND" in text
    for option in ("--socket", "--control-socket", "--timeout", "-o,--format", "--method", "--latency-max"):
        assert re.search(rf"^  {option}[ ,]", text, re.M), option


def test_to_clear_what_is_not_there_fails(provider, endpoint):
    done = run_provider("fault", "clear", "nope", "--socket", endpoint)
    assert done.returncode == 1 and "there is no fault 'nope'" in done.stderr


def test_the_supervisor_sees_what_the_api_server_sees_and_restarts_only_what_is_silent(directory, endpoint):
    control = f"unix://{directory}/supervisor.sock"
    with Program(
        binary("supervisor"), "--control-socket", control, "run", "--socket", endpoint, "--probe-interval", "50ms",
        "--probe-timeout", "500ms", "--failure-threshold", "2", "--", binary("mock-kms-provider"), "--listen-addr", endpoint,
    ) as supervisor, KmsClient(endpoint) as client:
        client.status()

        def status():
            done = run("supervisor", "--control-socket", control, "status", "-o", "json")
            return json.loads(done.stdout)

        pid = status()["pid"]
        assert run_provider("fault", "add", "key-disabled", "--socket", endpoint).returncode == 0
        deadline = time.monotonic() + DEADLINE
        while "key disabled" not in status()["answer"]["error"] and time.monotonic() < deadline:
            pass
        assert (status()["answer"]["error"], status()["pid"]) == ("FAILED_PRECONDITION: key disabled", pid)
        assert run_provider("fault", "clear", "--socket", endpoint).returncode == 0
        assert run_provider("fault", "add", "hang", "--socket", endpoint).returncode == 0
        assert "no answer to 2 probes in a row" in supervisor.wait_for_line("the plugin ended")
        with KmsClient(endpoint) as later:
            assert later.status().healthz == "ok"  # a new process, without the fault
        assert status()["pid"] != pid
        supervisor.stop()


def test_a_terminal_does_not_obey_a_name(client, fault):
    assert client.status().healthz == "ok"
    added = fault("add", '{"name": "red\\u001b[31m\\u009b\\n", "error": {"code": "UNAVAILABLE"}}')
    listed = fault("list")
    assert all("red\\x1b[31m\\xc2\\x9b\\x0a" in output for output in (added, listed))
