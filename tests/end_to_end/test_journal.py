"""journal and expect, against a real process."""

import contextlib
import hashlib
import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import grpc
import pytest

from proto import kms_v2_pb2 as v2
from support.kms_client import KmsClient
from support.processes import DEADLINE, Program, binary, run_provider

SECRET = b"a plaintext that must not show!!"


@pytest.fixture
def ask(endpoint):
    return lambda *args: run_provider(*args, "--socket", endpoint)


def test_the_journal_tells_of_every_call_and_never_a_plaintext(client, ask):
    sealed = client.encrypt(SECRET, uid="first")
    client.decrypt(sealed, uid="second")
    with pytest.raises(grpc.RpcError):
        client.decrypt(sealed, key_id="default/v1/00000000", uid="third")
    assert ask("fault", "add", "unavailable", "--name", "down").returncode == 0
    with pytest.raises(grpc.RpcError):
        client.status()
    shown = ask("journal", "-o", "json").stdout
    entries = [json.loads(line) for line in shown.splitlines()]
    assert [entry["event"].startswith("fault down is set: ") for entry in entries] == [False, False, False, True, False]
    calls = [entry for entry in entries if not entry["event"]]
    assert [(call["method"], call["uid"], call["code"], call["fault"]) for call in calls] == [
        ("Encrypt", "first", "OK", ""), ("Decrypt", "second", "OK", ""), ("Decrypt", "third", "NOT_FOUND", ""),
        ("Status", "", "UNAVAILABLE", "down")]
    assert calls[0]["keyId"] == calls[1]["keyId"] == sealed.key_id
    assert int(calls[0]["requestBytes"]) == len(SECRET) + 9  # both fields have a tag and a size
    for text in (shown, ask("journal").stdout, ask("journal", "--last").stdout):
        assert SECRET.decode() not in text and SECRET.hex() not in text


def test_counters_by_method_and_code(client, ask):
    for _ in range(3):
        client.status()
    with pytest.raises(grpc.RpcError):
        client.encrypt(SECRET, uid="")
    counts = json.loads(ask("journal", "--counts", "-o", "json").stdout)["counts"]
    assert [(count["method"], count["code"], count["calls"]) for count in counts] == [
        ("Status", "OK", 3), ("Encrypt", "INVALID_ARGUMENT", 1)]


@contextlib.contextmanager
def following(endpoint, *options):
    with Program(binary("mock-kms-provider"), "journal", "--follow", *options, "--socket", endpoint, stdout=subprocess.PIPE) as follower:
        yield follower
        follower.process.kill()
        follower.process.stdout.close()


def test_a_follower_sees_calls_as_they_come_after_those_that_it_asks_for(client, endpoint):
    client.status()
    client.encrypt(SECRET, uid="before")
    with following(endpoint, "-o", "json", "--tail", "1") as follower:
        assert json.loads(follower.process.stdout.readline())["uid"] == "before"
        client.encrypt(SECRET, uid="now")
        assert json.loads(follower.process.stdout.readline())["uid"] == "now"


def test_a_follower_begins_at_the_end(client, endpoint):
    client.encrypt(SECRET, uid="before")
    with following(endpoint) as follower:
        assert follower.process.stdout.readline().startswith("NUMBER")  # printed after the entries so far were read
        client.encrypt(SECRET, uid="now")
        assert "now" in follower.process.stdout.readline()


def test_a_follower_goes_on_with_the_next_provider_and_says_so(start_provider, endpoint):
    first = start_provider(endpoint)
    with following(endpoint, "-o", "json", "--tail", "9") as follower:
        with KmsClient(endpoint) as client:
            client.encrypt(SECRET, uid="one")
        assert json.loads(follower.process.stdout.readline())["uid"] == "one"
        first.stop()
        follower.wait_for_line("the provider ended, and its journal with it; waiting for the next one")
        start_provider(endpoint)
        with KmsClient(endpoint) as client:
            client.encrypt(SECRET, uid="two")
        entry = json.loads(follower.process.stdout.readline())
        assert (entry["uid"], entry["number"]) == ("two", 1)
        follower.wait_for_line("a provider answers")


def test_the_journal_is_filtered_by_method_time_and_number(client, ask):
    client.status()
    sealed = client.encrypt(SECRET, uid="e")
    client.decrypt(sealed, uid="d")
    assert ask("rotate").returncode == 0

    def methods(*options):
        return [json.loads(line)["method"] for line in ask("journal", "-o", "json", *options).stdout.splitlines()]

    assert methods() == ["Status", "Encrypt", "Decrypt", ""]
    assert methods("--method", "decrypt") == ["Decrypt"]
    assert methods("--method", "Status", "--method", "encrypt") == methods("--method", "status,encrypt") == ["Status", "Encrypt"]
    assert methods("--no-status") == ["Encrypt", "Decrypt", ""]
    assert methods("--tail", "2") == ["Decrypt", ""]
    assert methods("--no-status", "--tail", "3", "--since", "1h") == ["Encrypt", "Decrypt", ""]
    assert methods("--since", "1ns") == []
    assert ask("journal", "--method", "rotate").returncode == 2


@pytest.mark.parametrize("options", [
    ["--counts", "--no-status"], ["--counts", "--summary"], ["--counts", "--last"], ["--counts", "--since", "10s"], ["--summary", "--since", "10s"],
    ["--summary", "--tail", "1"], ["--last", "--method", "encrypt"], ["--reveal", "--tail", "1"], ["--summary", "--reveal"], ["--last", "--follow"],
], ids=" ".join)
def test_options_of_the_journal_that_have_no_effect_together_are_refused(ask, options):
    done = ask("journal", *options)
    assert done.returncode == 2 and "excludes" in done.stderr and done.stdout == ""


def test_an_expectation_without_quotes_names_them(ask):
    done = ask("expect", "encrypt", ">=", "1")
    assert done.returncode == 2 and "unexpected argument '>='; put the expectation in quotes, such as 'decrypt == 0'" in done.stderr


def test_the_help_of_expect_lists_every_method():
    shown = run_provider("expect", "--help").stdout
    assert all(word in shown for word in ("v1version", "v1encrypt", "v1decrypt", "other"))


def test_a_suite_can_compare_the_seed(client, ask):
    sealed = client.encrypt(SECRET, uid="e")
    client.decrypt(sealed, uid="d")
    last = json.loads(ask("journal", "--last", "-o", "json").stdout)
    for method, uid in (("encrypt", "e"), ("decrypt", "d")):
        assert last[method]["sha256"] == hashlib.sha256(SECRET).hexdigest()
        assert (last[method]["uid"], last[method]["size"]) == (uid, 32) and "plaintext" not in last[method]
    assert SECRET.hex() in ask("journal", "--reveal").stdout


def test_expect_ends_with_0_or_1_and_waits_where_it_may(client, ask, directory):
    held = ask("expect", "decrypt == 0 since start")
    assert (held.returncode, held.stdout) == (0, "ok: 0 calls\n")
    client.status()
    assert ask("expect", "status>=1").stdout == "ok: 1 call\n"
    young = ask("expect", "decrypt == 0 since 1h").stdout
    assert re.fullmatch(r"ok: 0 calls since the provider started, [\d.]+ m?s ago\n", young), young
    failed = ask("expect", "status == 0", "--junit", str(directory / "report.xml"))
    assert failed.returncode == 1
    assert "expected status == 0, there was 1 call" in failed.stderr and failed.stderr.count("\n") == 1
    report = ElementTree.parse(directory / "report.xml").getroot()
    assert report.get("failures") == "1" and report.find("testcase/failure") is not None
    assert ask("expect", "status == 1 since 60s").returncode == 0
    assert ask("expect", "status = 1").returncode == 2


def test_expect_waits_for_a_call_that_is_to_come(client, endpoint):
    with Program(binary("mock-kms-provider"), "expect", "encrypt >= 1", "--within", "20s", "--socket", endpoint) as waiting:
        client.encrypt(SECRET)
        assert waiting.wait() == 0


def test_a_call_that_hangs_is_in_the_journal_at_once(client, ask, endpoint):
    assert ask("fault", "add", "hang").returncode == 0
    call = client.stub.Status.future(v2.StatusRequest(), timeout=2 * DEADLINE, wait_for_ready=True)
    assert ask("expect", "status.HUNG == 1", "--within", f"{DEADLINE / 2}s").returncode == 0
    assert not call.done()
    call.cancel()


def test_a_key_id_that_is_no_text_does_not_break_the_journal(client, ask):
    assert ask("fault", "add", "key-id-not-utf8").returncode == 0
    client._channel.unary_unary("/v2.KeyManagementService/Status")(b"", timeout=3)
    assert "?(" in ask("journal").stdout


def test_the_journal_tells_connections_apart(client, endpoint, ask):
    with KmsClient(endpoint) as other:
        for one in (client, other, client, other, other):
            one.status()
    with KmsClient(endpoint) as third:
        third.status()
    calls = [json.loads(line) for line in ask("journal", "-o", "json").stdout.splitlines()]
    assert [call["connection"] for call in calls] == [1, 2, 1, 2, 2, 3]


def test_events_are_no_calls(client, ask):
    client.status()
    assert ask("rotate").returncode == 0
    assert ask("expect", "all == 1 since start").returncode == 0
    assert ask("expect", "all == 1 since 1h").returncode == 0
    assert "-- rotated the key from version 1 to default/v2/" in ask("journal").stdout
