"""mock-kms-provider as a person at a shell meets it."""

import json
import signal
import socket
import subprocess
import time

import pytest

from support.kms_client import KmsClient
from support.processes import Program, binary, run_provider


def run(*args, stdin=b"", env=None):
    """Its input and output are bytes here."""
    return run_provider(*args, input=stdin, env=env, text=False)


def one_line(result):
    text = result.stderr.decode()
    assert text.count("\n") == 1, text
    return text.strip()


def test_encrypt_and_decrypt_are_a_pair(start_provider, endpoint):
    start_provider(endpoint)
    for plaintext in (b"secret\n", b"", bytes(range(256)) * 100):
        sealed = run("encrypt", "--socket", endpoint, stdin=plaintext)
        assert sealed.returncode == 0
        fields = json.loads(sealed.stdout)
        assert set(fields) == {"ciphertext", "keyId", "annotations"}
        opened = run("decrypt", "--socket", endpoint, stdin=sealed.stdout)
        assert (opened.returncode, opened.stdout) == (0, plaintext)


def counts(endpoint):
    return json.loads(run("journal", "--counts", "--socket", endpoint, "-o", "json").stdout)["counts"]


def test_input_up_to_the_limit_is_encrypted_and_more_is_refused_before_any_call(start_provider, endpoint):
    start_provider(endpoint)
    limit = 4 * 1024 * 1024 - 64 * 1024
    sealed = run("encrypt", "--socket", endpoint, stdin=bytes(limit))
    assert sealed.returncode == 0, sealed.stderr
    assert run("decrypt", "--socket", endpoint, stdin=sealed.stdout).stdout == bytes(limit)
    calls = counts(endpoint)
    for command, size in (("encrypt", limit + 1), ("encrypt", 5_000_000), ("decrypt", 9_000_000)):
        refused = run(command, "--socket", endpoint, stdin=b"x" * size)
        assert refused.returncode == 2
        assert "standard input is larger than" in one_line(refused)
    assert counts(endpoint) == calls


def test_endless_input_is_refused_at_once(start_provider, endpoint):
    start_provider(endpoint)
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run([binary("mock-kms-provider"), "encrypt", "--socket", endpoint], stdin=endless, capture_output=True, timeout=20)
    assert done.returncode == 2


def test_status_for_people_and_as_json(start_provider, endpoint):
    start_provider(endpoint)
    assert b"healthz  ok\n" in run("status", "--socket", endpoint).stdout
    fields = json.loads(run("status", "--socket", endpoint, "-o", "json").stdout)
    assert (fields["version"], fields["healthz"]) == ("v2", "ok")


def test_control_characters_of_others_are_shown_and_not_obeyed(start_provider, endpoint):
    start_provider(endpoint)
    run("encrypt", "--socket", endpoint, "--uid", "a\x1b[2J\nb", stdin=b"secret")
    assert b"  a\\x1b[2J\\x0ab\n" in run("journal", "--socket", endpoint).stdout
    run("fault", "add", "healthz", "--text", "\x1b[31mred", "--name", "red", "--socket", endpoint)
    assert b"healthz  \\x1b[31mred\n" in run("status", "--socket", endpoint).stdout
    run("fault", "add", "error", "--text", "two\nlines", "--socket", endpoint)
    assert one_line(run("status", "--socket", endpoint)).endswith("UNAVAILABLE: two\\x0alines")


@pytest.mark.parametrize("command", ["status", "encrypt", "decrypt"])
def test_exit_code_3_where_nothing_listens(endpoint, command):
    result = run(command, "--socket", endpoint, stdin=b"{}")
    assert result.returncode == 3
    assert "No such file or directory" in one_line(result)


def test_exit_code_3_where_the_plugin_hangs(start_provider, endpoint):
    provider = start_provider(endpoint)
    provider.send(signal.SIGSTOP)
    result = run("status", "--socket", endpoint, "--timeout", "100ms")
    assert result.returncode == 3
    assert "no answer" in one_line(result)


def test_exit_code_1_where_the_plugin_answers_with_an_error(start_provider, endpoint):
    start_provider(endpoint)
    result = run("encrypt", "--socket", endpoint, "--uid", "")
    assert result.returncode == 1
    assert one_line(result).endswith("Encrypt: INVALID_ARGUMENT: uid is empty")


@pytest.mark.parametrize("stdin, says", [
    (b"", "it is not JSON: line 1, column 1"),
    (b"nope", "it is not JSON"),
    (b"{", "it is not JSON"),
    (b"\xff\xfe", "it is not JSON"),
    (b"[]", "it is not an object in { }"),
    (b'{"ciphertext": 1}', "ciphertext: it is not a text in quotes"),
    (b'{"ciphertext": "A*A"}', "ciphertext: it is not base64"),
    (b'{"ciphertxt": ""}', "unknown field 'ciphertxt'; did you mean 'ciphertext'?"),
    (b'{"key_id": "k"}', "unknown field 'key_id'; did you mean 'keyId'?"),
    (b'{"ciphertext": "AAAA", "ciphertext": "AAAA"}', "'ciphertext' occurs twice"),
    (b'{"annotations": {"a.b": "AAAA", "a.b": "AAAA"}}', "'a.b' occurs twice"),
    (b'{"annotations": {"a.b": 5}}', "annotations.a.b: it is not a text in quotes"),
])
def test_exit_code_2_for_what_encrypt_did_not_print(start_provider, endpoint, stdin, says):
    start_provider(endpoint)
    result = run("decrypt", "--socket", endpoint, stdin=stdin)
    assert result.returncode == 2
    line = one_line(result)
    assert "not the JSON that `encrypt` prints" in line and says in line


@pytest.mark.parametrize(
    "args, says",
    [
        (["--lisen-addr=unix:///tmp/x"], "did you mean '--listen-addr'?"),
        (["-lisen-addr=unix:///tmp/x"], "did you mean '--listen-addr'?"),
        (["encrpt"], "did you mean 'encrypt'?"),
        (["--listen-addr", "tcp://127.0.0.1:1"], "--listen-addr: endpoint 'tcp://127.0.0.1:1'"),
        (["--listen-addr", ""], "--listen-addr: "),
        (["--listen-addr=", "--timeout=1s"], "--listen-addr: "),
        (["--timeout", "5"], "--timeout: "),
        (["--timeout", "0s"], "--timeout: "),
        (["--socket-mode", "0999"], "--socket-mode: "),
        (["--socket-owner", "no-such-user-here"], "--socket-owner: no such user"),
        (["--instance", "a/b"], "--instance: "),
        (["--key-version", "0"], "--key-version: "),
        (["--key-version", "-1"], "--key-version: '-1' is not a whole number of 0 or more"),
        (["--key-version", "4294967296"], "--key-version: '4294967296' is too large"),
        (["--random-seed", "-1"], "--random-seed: '-1' is not a whole number of 0 or more"),
        (["--random-seed", "99999999999999999999"], "--random-seed: '99999999999999999999' is too large"),
        (["journal", "--tail", "-1"], "--tail: '-1' is not a whole number of 0 or more"),
        (["journal", "--tail", "abc"], "--tail: 'abc' is not a whole number of 0 or more"),
        (["rotate", "--to", "-1"], "--to: '-1' is not a whole number of 0 or more"),
        (["fault", "add", "error", "--first", "-1"], "--first: '-1' is not a whole number of 0 or more"),
        (["fault", "add", "crash", "--exit-code", "-1"], "--exit-code: '-1' is not a whole number of 0 or more"),
        (["fault", "add", "throttled", "--per-second", "abc"], "--per-second: 'abc' is not a number"),
        (["fault", "lst"], "did you mean 'list'?"),
        (["scenario", "chek", "x"], "did you mean 'check'?"),
        (["fault"], "name a command: add, list or clear"),
        (["scenario"], "name a command: run, status, stop or check"),
        (["--seed-file", "/nonexistent"], "cannot read seed file /nonexistent: No such file"),
        (["encrypt", "--socket", "localhost:1"], "--socket: endpoint 'localhost:1'"),
        (["status", "--socket", "foo"], "use unix:///absolute/path or unix:///@abstract-name"),
        (["status", "unix:///@other"], "unexpected argument 'unix:///@other'"),
        (["status", "-o", "yaml"], "--format: "),
        (["status", "-o", "jsn"], "--format: jsn not in {text,json}; did you mean 'json'?"),
        (["status", "--json"], "unknown option '--json'; use --format json"),
        (["rotate", "9"], "unexpected argument '9'; name the version with --to"),
        (["encrypt", "secret"], "unexpected argument 'secret'; it reads the plaintext from standard input"),
        (["decrypt", "sealed.json"], "unexpected argument 'sealed.json'; it reads the JSON from standard input"),
        (["config", "p.json"], "unexpected argument 'p.json'; name the file with --check"),
        (["fault", "add", "latency", "500ms"], "give a value by its option, such as --latency 500ms"),
        (["fault", "remove", "x"], "'fault clear' ends a fault"),
        (["logs"], "unexpected argument 'logs'; it is a command of supervisor: 'supervisor logs'"),
        (["--socket", "unix:///tmp/x"], "unknown option '--socket'; did you mean '--listen-addr'?"),
        (["status", "--listen-addr", "unix:///tmp/x"], "unknown option '--listen-addr'; did you mean '--socket'?"),
        (["expect"], "expectation is missing: WHAT OPERATOR NUMBER [since TIME]"),
        (["inspect", "."], "cannot read .: Is a directory"),
    ],
)
def test_exit_code_2_for_bad_options_with_the_next_step(args, says):
    result = run(*args)
    assert result.returncode == 2
    assert says in one_line(result)


def test_a_seed_file_with_a_newline_is_refused_with_the_way_to_write_it(directory):
    seed = directory / "seed"
    seed.write_text("ab" * 32 + "\n")
    result = run("--seed-file", seed)
    assert result.returncode == 2
    assert "holds 65 bytes: 64 hex digits followed by a newline; write it with printf '%s'" in one_line(result)
    assert "abab" not in one_line(result)


def test_flags_are_taken_as_the_upstream_mock_takes_them(endpoint):
    with Program(binary("mock-kms-provider"), f"-listen-addr={endpoint}", "-timeout=3s") as program:
        program.wait_for_line(": started")
        with KmsClient(endpoint) as client:
            assert client.status().healthz == "ok"


def test_flags_can_stand_in_the_environment(endpoint):
    env = {"MOCK_KMS_LISTEN_ADDR": endpoint, "MOCK_KMS_INSTANCE": "blue"}
    with Program(binary("mock-kms-provider"), "serve", env=env) as program:
        program.wait_for_line("key_id=blue/v1/")


def test_help_of_all_commands_has_the_options_of_nested_ones():
    shown = run("--help-all").stdout.decode()
    assert "\nfault add\n" in shown and "--per-second" in shown
    assert "\nscenario run\n" in shown and "--wait" in shown


def test_help_shows_examples():
    for command in ("serve", "status", "encrypt", "decrypt"):
        result = run(command, "--help")
        assert result.returncode == 0
        assert b"Examples:\n  " in result.stdout


def test_log_lines_are_json_when_asked(endpoint):
    with Program(binary("mock-kms-provider"), "--listen-addr", endpoint, "--log-format=json") as provider:
        line = json.loads(provider.wait_for_line('"message":"started"'))
        assert line["endpoint"] == endpoint and line["program"] == "mock-kms-provider"


def test_a_plugin_without_a_control_socket_is_told_apart_within_a_second(directory):
    with socket.socket(socket.AF_UNIX) as plugin:
        plugin.bind(f"{directory}/kms.sock")
        plugin.listen()
        begun = time.monotonic()
        result = run("rotate", "--socket", f"unix://{directory}/kms.sock")
        assert result.returncode == 3 and "is not mock-kms-provider, or has another control socket" in one_line(result)
        assert time.monotonic() - begun < 5, "the time-out of 5 s is not used up"
