"""`supervisor check` against the provider: all rules pass, and each fault breaks just the rules that it must."""

import json
import os
import xml.etree.ElementTree as ElementTree

import pytest

from support.processes import DEADLINE, Program, binary, run, run_provider
from support.supervised import Supervised

PATIENT = "20s"  # a call's deadline where no call is to reach it, on whatever machine
NOT_VISIBLE = {7, 8, 17, 18, 19, 29, 33, 34, 35}


def check(*args):
    return run("supervisor", "check", *args, timeout=4 * DEADLINE)


def report_of(*args, timeout=PATIENT):
    """The exit code, and {"12 MUST": (verdict, seen)}."""
    done = check(*args, "-o", "json", f"--timeout={timeout}")
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    results = {f"{result['rule']} {result['level']}": (result["verdict"], result["seen"]) for result in report["results"]}
    assert report["conforms"] == (done.returncode == 0)
    return done.returncode, results


def with_verdict(results, verdict):
    return {rule for rule, (found, _) in results.items() if found == verdict}


def test_the_provider_keeps_every_rule_that_can_be_seen(start_provider, endpoint):
    start_provider(endpoint)
    code, results = report_of(endpoint)
    assert code == 0
    assert {int(rule.split()[0]) for rule in with_verdict(results, "NOT_VISIBLE")} == NOT_VISIBLE
    assert with_verdict(results, "PASS") == results.keys() - with_verdict(results, "NOT_VISIBLE")
    assert [int(rule.split()[0]) for rule in results] == [*range(1, 11), 10, *range(11, 36)]


def test_replicas_show_two_more_rules(start_provider, directory, endpoint):
    start_provider(endpoint)
    other = f"unix://{directory}/other.sock"
    start_provider(other)
    code, results = report_of(endpoint, "--replica", other)
    assert code == 0
    assert results["19 SHOULD"][0] == results["29 MUST"][0] == "PASS"


def test_a_replica_with_other_keys_breaks_rules_19_and_29(start_provider, directory, endpoint):
    start_provider(endpoint)
    (directory / "seed").write_bytes(os.urandom(32))
    other = f"unix://{directory}/other.sock"
    start_provider(other, "--seed-file", directory / "seed")
    code, results = report_of(endpoint, "--replica", other)
    assert code == 1
    assert with_verdict(results, "FAIL") == {"19 SHOULD", "29 MUST"}


FAULTS = {
    "error --code UNIMPLEMENTED --method decrypt": {"2 MUST"},
    "authority-refused": {"3 MUST"},
    "hang --method decrypt": {"4 MUST"},
    "error --method encrypt --uid supervisor-check-concurrent*": {"5 MUST"},
    "version --text v3": {"10 MUST"},
    "version --text v2beta1": {"10 SHOULD"},
    "version --text v2beta1 --every 2": {"10 SHOULD", "11 MUST"},
    "unhealthy": {"12 MUST"},
    "error --method status": {"12 MUST"},
    "key-id-empty --method status": {"13 MUST"},
    "key-id-long --method status": {"13 MUST"},
    "key-id-not-utf8 --method status": {"13 MUST"},
    "key-id-disagrees": {"14 MUST"},
    "key-id-flapping": {"15 SHOULD"},
    "latency --latency 150ms --method status": {"16 SHOULD"},
    "decrypt-broken": {"17 SHOULD", "27 MUST"},
    "ciphertext-empty": {"20 MUST"},
    "ciphertext-oversize": {"20 MUST"},
    "encrypt-broken": {"18 SHOULD", "20 MUST"},
    "ciphertext-echoed": {"21 MUST"},
    "key-id-empty --method encrypt": {"22 MUST"},
    "key-id-long --method encrypt": {"22 MUST"},
    "key-id-not-utf8 --method encrypt": {"22 MUST"},
    "annotations-bad": {"23 MUST"},
    "annotations-oversize": {"23 MUST"},
    "annotations-secret": {"24 SHOULD"},
    "error --method encrypt --uid supervisor-check-odd*": {"25 SHOULD"},
    "ciphertext-repeated": {"26 SHOULD"},
    "plaintext-wrong": {"27 MUST"},
    "error --method decrypt --uid supervisor-check-other*": {"28 MUST"},
    "garbage-decrypted": {"30 SHOULD"},
    "error --method decrypt --uid supervisor-check-burst*": {"31 SHOULD"},
    "error --code UNKNOWN --method decrypt --uid supervisor-check-refuse*": {"32 SHOULD"},
}


def test_a_broken_should_fails_the_check_with_strict_only_and_is_told_from_what_is_not_visible(start_provider, endpoint, directory):
    start_provider(endpoint)
    run_provider("fault", "add", "key-id-flapping", "--socket", endpoint, check=True)
    loose = check(endpoint, f"--timeout={PATIENT}", f"--junit={directory}/loose.xml")
    strict = check(endpoint, f"--timeout={PATIENT}", f"--junit={directory}/strict.xml", "--strict", "--quiet")
    assert loose.returncode == 0 and strict.returncode == 1
    for done in loose, strict:
        assert "0 MUST and 1 SHOULD (rule 15) fail" in done.stdout
    assert f"{endpoint} conforms: " in loose.stdout and f"{endpoint} DOES NOT CONFORM (--strict): " in strict.stdout
    as_json = json.loads(check(endpoint, f"--timeout={PATIENT}", "--strict", "--quiet", "-o", "json").stdout)
    assert as_json["conforms"] is False
    assert {result["verdict"] for result in as_json["results"]} == {"FAIL", "NOT_VISIBLE"}
    counts = as_json["counts"]
    assert f"{counts['pass']} pass, 0 MUST and 1 SHOULD (rule 15) fail" in strict.stdout
    assert (counts["brokenMust"], counts["brokenShould"]) == (0, 1)
    assert counts["notVisible"] == sum(result["verdict"] == "NOT_VISIBLE" for result in as_json["results"])
    verdicts = {line.split()[2] for line in strict.stdout.splitlines() if " SHOULD  " in line or " MUST  " in line}
    assert verdicts == {"FAIL", "not"}  # "not visible"
    cases = ElementTree.parse(f"{directory}/loose.xml").getroot()
    assert not cases.findall(".//failure")
    types = [skipped.get("type") for skipped in cases.findall(".//skipped")]
    assert types.count("broken SHOULD") == 1 and types.count("not visible") == len(NOT_VISIBLE)
    failures = ElementTree.parse(f"{directory}/strict.xml").getroot().findall(".//failure")
    assert len(failures) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_breaks_the_rules_that_it_must_and_no_other(start_provider, endpoint, fault):
    start_provider(endpoint)
    added = run_provider("fault", "--socket", endpoint, "add", *fault.split())
    assert added.returncode == 0, added.stderr
    code, results = report_of(endpoint, timeout="3s" if fault.startswith("hang") else PATIENT)
    assert with_verdict(results, "FAIL") == FAULTS[fault], results
    assert code == (1 if any("MUST" in rule for rule in FAULTS[fault]) else 0)


def test_an_unhealthy_status_in_an_outage_breaks_rule_18_too(start_provider, endpoint):
    start_provider(endpoint, "--fault", "key-deleted", "--fault", "unhealthy")
    code, results = report_of(endpoint)
    assert code == 1
    assert with_verdict(results, "FAIL") == {"12 MUST", "18 SHOULD", "20 MUST"}


def test_a_crash_without_a_supervisor_breaks_rule_6(start_provider, endpoint):
    start_provider(endpoint, "--fault", "crash-loop")
    code, results = report_of(endpoint, timeout="3s")  # as long it waits for another to come
    assert code == 1
    assert with_verdict(results, "FAIL") == {"6 MUST"}
    assert "one broke under a call" in results["6 MUST"][1]


def test_a_crash_under_a_supervisor_keeps_rule_6(directory):
    with Supervised(directory, [binary("mock-kms-provider"), f"--listen-addr=unix://{directory}/kms.sock",
                             '--fault={"first": 1, "methods": ["DECRYPT"], "crash": {"signal": "SIGKILL"}}']) as supervised:
        supervised.healthy()
        _, results = report_of(supervised.endpoint)
        assert results["6 MUST"][0] == "PASS"
        assert "broke under" in results["6 MUST"][1]


def test_a_socket_that_anyone_can_open_breaks_rule_9(start_provider, directory, endpoint):
    os.chmod(directory, 0o755)
    start_provider(endpoint, "--socket-mode", "0666")
    assert with_verdict(report_of(endpoint)[1], "FAIL") == {"9 SHOULD"}
    os.chmod(directory, 0o750)
    assert not with_verdict(report_of(endpoint)[1], "FAIL")


def test_who_may_open_an_abstract_socket_is_not_visible(start_provider, directory):
    endpoint = f"unix:///@{directory.name}"
    start_provider(endpoint)
    code, results = report_of(endpoint)
    assert (code, with_verdict(results, "FAIL")) == (0, set())
    verdict, seen = results["9 SHOULD"]
    assert verdict == "NOT_VISIBLE" and "no mode" in seen


def test_the_key_stays_and_nothing_is_injected(start_provider, endpoint):
    """The check leaves the plugin as it was."""
    start_provider(endpoint)

    def state():
        return [run_provider(*words, "--socket", endpoint, "-o", "json", check=True).stdout
                for words in (["keys"], ["fault", "list"], ["status"])]

    before = state()
    assert report_of(endpoint)[0] == 0
    assert state() == before


def test_the_table_and_the_junit_report_say_the_same(start_provider, directory, endpoint):
    start_provider(endpoint, "--fault", "ciphertext-oversize", "--fault", "key-id-flapping")
    done = check(endpoint, "--junit", directory / "report.xml", f"--timeout={PATIENT}")
    assert done.returncode == 1
    rows = done.stdout.splitlines()
    assert any(row.startswith("  20  MUST    FAIL            ") and "(the ciphertext has 1025 bytes)" in row for row in rows)
    assert rows[-1].startswith(f"{endpoint} DOES NOT CONFORM: ") and "1 MUST (rule 20) and 1 SHOULD (rule 15) fail" in rows[-1]
    report = ElementTree.parse(directory / "report.xml").getroot()
    assert (report.get("tests"), report.get("failures")) == ("36", "1")
    failed = [case.get("name") for case in report if case.find("failure") is not None]
    assert failed == ["rule 20 MUST: 32 bytes become a ciphertext of 1 to 1024"]
    skipped = {case.get("name"): case.find("skipped").get("message") for case in report if case.find("skipped") is not None}
    assert skipped["rule 15 SHOULD: key_id never goes back to an earlier one"].startswith("broken SHOULD: Status went from")
    assert len(skipped) == int(report.get("skipped"))


@pytest.mark.parametrize("made", [False, True])
def test_nothing_that_listens_is_exit_code_3(directory, endpoint, made):
    if made:
        with Program(binary("mock-kms-provider"), "--listen-addr", endpoint) as provider:
            provider.wait_for_line(": started")
            provider.process.kill()
    done = check(endpoint, "--junit", directory / "report.xml")
    assert done.returncode == 3
    assert done.stderr.startswith(f"supervisor: cannot connect to {endpoint}: ") and done.stderr.count("\n") == 1
    assert not done.stdout and not (directory / "report.xml").exists()


def test_the_sockets_that_answer_are_named_for_one_that_does_not(start_provider, directory, endpoint):
    start_provider(endpoint)
    for arguments, names in (([f"unix://{directory}/none"], "ENDPOINT"), ([endpoint, f"--replica=unix://{directory}/none"], "--replica")):
        done = check(*arguments)
        assert done.returncode == 3
        assert f"start the plugin, or name another {names}; one answers on " in done.stderr and endpoint in done.stderr


def test_bad_usage_is_exit_code_2(directory, endpoint):
    assert check("tcp://localhost:1").returncode == 2
    assert check().returncode == 2
    assert check(endpoint, "--replica", "nowhere").returncode == 2


def test_a_report_that_cannot_be_written_is_named(start_provider, endpoint):
    start_provider(endpoint)
    done = check(endpoint, "--junit", "/nonexistent/report.xml")
    assert done.returncode == 1
    assert "cannot write /nonexistent/report.xml: No such file or directory" in done.stderr
