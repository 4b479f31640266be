"""The file of --config and scenarios: one file, edited as a mounted ConfigMap is, moves every replica."""

import json
import os
import re
import signal
import subprocess

import grpc
import pytest

from support.kms_client import KmsClient, outcomes_of
from support.processes import Program, binary, run_provider

SECRET = bytes(range(32))
CODE = grpc.StatusCode


class ConfigMap:
    """A directory as the kubelet mounts it: provider.json -> ..data/provider.json, ..data -> a directory per version."""

    def __init__(self, directory):
        self.directory = directory
        self.file = directory / "provider.json"
        self.version = 0
        directory.mkdir()

    def write(self, config):
        text = config if isinstance(config, str) else json.dumps(config)
        self.version += 1
        old = self.directory / os.readlink(self.directory / "..data") if self.version > 1 else None
        data = self.directory / f"..2026_11_22.{self.version}"
        data.mkdir()
        (data / "provider.json").write_text(text)
        (self.directory / "..data_tmp").symlink_to(data.name)
        (self.directory / "..data_tmp").rename(self.directory / "..data")
        if old is None:
            self.file.symlink_to("..data/provider.json")
        else:
            (old / "provider.json").unlink()
            old.rmdir()


@pytest.fixture
def config_map(directory):
    return ConfigMap(directory / "config")


def replicas(start_provider, directory, config_file, *names):
    """(program, client, endpoint) of one provider per name, each on a node of its own."""
    started = []
    for name in names:
        endpoint = f"unix://{directory}/{name}.sock"
        program = start_provider(endpoint, "--config", config_file, env={"NODE_NAME": name})
        started.append((program, KmsClient(endpoint), endpoint))
    return started


def status_of(endpoint):
    done = run_provider("config", "--socket", endpoint, "-o", "json")
    return done.returncode, json.loads(done.stdout)


def test_one_swap_of_the_mounted_file_rotates_every_replica_and_breaks_one(start_provider, directory, config_map):
    config_map.write({"keyVersion": 2})
    both = replicas(start_provider, directory, config_map.file, "master-0", "master-1")
    (first, client, _), (second, other, _) = both
    assert "/v2/" in client.status().key_id and client.status().key_id == other.status().key_id
    marks = [len(first.stderr), len(second.stderr)]
    config_map.write({"keyVersion": 5, "faults": [{"preset": "key-disabled", "node": "master-1"}]})
    for (program, _, _), mark in zip(both, marks):
        program.wait_for_line("applied the configuration", start=mark)
    assert "/v5/" in client.status().key_id
    with pytest.raises(grpc.RpcError) as refusal:
        other.status()
    assert refusal.value.details() == "key disabled"
    marks = [len(first.stderr), len(second.stderr)]
    config_map.write({"keyVersion": 6})
    for (program, _, _), mark in zip(both, marks):
        program.wait_for_line("applied the configuration", start=mark)
    assert "/v6/" in client.status().key_id and client.status().key_id == other.status().key_id


def test_a_file_is_followed_through_writes_in_place_and_renames(start_provider, directory, endpoint):
    file = directory / "provider.json"
    file.write_text("{}")
    program = start_provider(endpoint, "--config", file)
    with KmsClient(endpoint) as client:
        for version, write in ((2, file.write_text), (3, lambda text: replace(file, text)), (4, file.write_text)):
            mark = len(program.stderr)
            write(json.dumps({"keyVersion": version}))
            program.wait_for_line("applied the configuration", start=mark)
            assert f"/v{version}/" in client.status().key_id


def replace(file, text):
    draft = file.with_name("draft")
    draft.write_text(text)
    draft.rename(file)


@pytest.mark.parametrize("bad, why", [
    ("{", "it is not JSON: "),
    ('{"faults": [{"preset": "nope"}]}', "faults[0]: there is no preset 'nope'"),
    (None, "No such file or directory"),
])
def test_a_bad_file_changes_nothing_and_says_why(start_provider, directory, endpoint, bad, why):
    file = directory / "provider.json"
    file.write_text(json.dumps({"keyVersion": 3, "faults": [{"name": "h", "healthz": "declared"}]}))
    program = start_provider(endpoint, "--config", file)
    before = status_of(endpoint)[1]
    if bad is None:
        file.unlink()
    else:
        file.write_text(bad)
    assert why in program.wait_for_line("the configuration is bad")
    with KmsClient(endpoint) as client:
        assert client.status().healthz == "declared" and "/v3/" in client.status().key_id
    code, status = status_of(endpoint)
    assert code == 1 and why in status["error"] and status["errorSince"]
    assert (status["sha256"], status["since"]) == (before["sha256"], before["since"])
    assert why in run_provider("config", "--socket", endpoint).stdout
    events = [json.loads(line)["event"] for line in run_provider("journal", "-o", "json", "--socket", endpoint).stdout.splitlines()]
    assert any("is bad" in event and why in event for event in events)
    mark = len(program.stderr)
    file.write_text("{}")
    program.wait_for_line("applied the configuration", start=mark)
    code, status = status_of(endpoint)
    assert (code, status["error"]) == (0, "")
    with KmsClient(endpoint) as client:
        assert client.status().healthz == "ok"


@pytest.mark.parametrize("text", ["{", '{"keyVersion": -1}', '{"faults": [{}]}'])
def test_a_provider_does_not_start_with_a_bad_file(directory, endpoint, text):
    file = directory / "provider.json"
    file.write_text(text)
    started = run_provider("serve", "--listen-addr", endpoint, "--config", file)
    assert started.returncode == 2 and f"--config {file}: " in started.stderr and started.stderr.count("\n") == 1
    checked = run_provider("config", "--check", file)
    assert checked.returncode == 2 and checked.stderr.count("\n") == 1


def test_a_file_can_be_checked_without_a_provider(directory):
    (directory / "good.json").write_text('{"keyVersion": 2, "faults": [{"preset": "slow"}]}')
    done = run_provider("config", "--check", directory / "good.json")
    assert (done.returncode, done.stdout) == (0, "good: key version 2, 1 fault, no scenario\n")
    (directory / "steps.json").write_text('{"scenario": {"steps": [{"do": {"rotate": {}}}]}}')
    assert run_provider("config", "--check", directory / "steps.json").stdout == "good: 0 faults, a scenario of 1 step\n"
    done = run_provider("config", "--check", directory / "good.json", "-o", "json")
    assert json.loads(done.stdout)["faults"][0]["latency"]["max"] == "4s"  # with what the preset fills in


def test_a_scenario_can_be_checked_without_a_provider(directory):
    file = directory / "outage.json"
    file.write_text('{"steps": [{"at": "1m30s", "do": {"fault": {"preset": "slow"}}}, {"do": {"rotate": {}}}]}')
    done = run_provider("scenario", "check", file)
    assert (done.returncode, done.stdout) == (0, "good: 2 steps\n")
    done = run_provider("config", "--check", file)
    assert done.returncode == 2 and "'scenario check'" in done.stderr
    file.write_text('{"steps": [{"dp": {"rotate": {}}}]}')
    done = run_provider("scenario", "check", file)
    assert done.returncode == 2 and f"{file}: steps[0]: unknown field 'dp'; did you mean 'do'?" in done.stderr


def test_what_is_declared_is_not_cleared_by_command_and_what_is_commanded_not_by_the_file(start_provider, directory, endpoint):
    file = directory / "provider.json"
    file.write_text(json.dumps({"faults": [{"name": "declared", "healthz": "declared"}]}))
    program = start_provider(endpoint, "--config", file)
    with KmsClient(endpoint) as client:
        assert run_provider("fault", "add", "healthz", "--text", "commanded", "--name", "mine", "--socket", endpoint).returncode == 0
        assert client.status().healthz == "commanded"
        refused = run_provider("fault", "clear", "declared", "--socket", endpoint)
        assert refused.returncode == 1 and "edit the file of --config" in refused.stderr
        mark = len(program.stderr)
        file.write_text(json.dumps({"keyVersion": 2, "faults": [{"name": "declared", "healthz": "declared anew"}]}))
        program.wait_for_line("applied the configuration", start=mark)
        assert client.status().healthz == "commanded"
        assert run_provider("fault", "clear", "--socket", endpoint).stdout == "cleared 1; 1 stays: end it by 'scenario stop' or in the file of --config\n"
        assert client.status().healthz == "declared anew"


def test_a_declared_version_never_leads_back(start_provider, directory, endpoint):
    file = directory / "provider.json"
    file.write_text('{"keyVersion": 2}')
    program = start_provider(endpoint, "--config", file, "--state-dir", directory / "state")
    assert run_provider("rotate", "--to", 7, "--socket", endpoint).returncode == 0
    mark = len(program.stderr)
    file.write_text('{"keyVersion": 3}')
    program.wait_for_line("applied the configuration", start=mark)
    code, status = status_of(endpoint)
    assert code == 0 and status["remark"].startswith("keyVersion 3 has no effect")
    with KmsClient(endpoint) as client:
        assert "/v7/" in client.status().key_id


def scenario_status(endpoint):
    return json.loads(run_provider("scenario", "status", "--socket", endpoint, "-o", "json").stdout)


def test_following_no_scenario_is_a_failure(start_provider, endpoint):
    start_provider(endpoint)
    followed = run_provider("scenario", "status", "--follow", "--socket", endpoint)
    assert followed.returncode == 1 and "there is no scenario to follow" in followed.stderr


def test_a_stopped_scenario_says_what_was_stopped_and_what_never_began(start_provider, directory, endpoint):
    start_provider(endpoint)
    scenario = {"steps": [{"at": "0s", "until": "1h", "do": {"fault": {"preset": "unavailable"}}}, {"at": "1h", "do": {"rotate": {}}}]}
    (directory / "long.json").write_text(json.dumps(scenario))
    assert run_provider("scenario", "run", directory / "long.json", "--socket", endpoint).returncode == 0
    stopped = json.loads(run_provider("scenario", "stop", "--socket", endpoint, "-o", "json").stdout)
    assert [step["state"] for step in stopped["steps"]] == ["STOPPED", "SKIPPED"]
    followed = run_provider("scenario", "status", "--follow", "--socket", endpoint)
    assert followed.returncode == 1
    begins, ends, *_ = followed.stdout.splitlines()
    assert begins.startswith("0  step 1 begins: ") and re.fullmatch(r"[\d.]+m?s  step 1 is stopped", ends), followed.stdout
    assert "step 2" not in followed.stdout


def test_a_scenario_by_command_plays_to_its_end(start_provider, directory, endpoint):
    start_provider(endpoint, env={"NODE_NAME": "master-0"})
    scenario = {"name": "outage", "steps": [
        {"at": "0s", "do": {"rotate": {"to": 4}}},
        {"at": "0.1s", "until": "0.3s", "do": {"fault": {"preset": "unavailable"}}},
        {"at": "0.2s", "node": "master-1", "do": {"rotate": {}}},
        {"at": "0.4s", "do": {"fault": {"name": "after", "healthz": "recovering"}}},
    ]}
    (directory / "outage.json").write_text(json.dumps(scenario))
    played = run_provider("scenario", "run", directory / "outage.json", "--wait", "--socket", endpoint, "-o", "json")
    assert played.returncode == 0, played.stderr
    status = json.loads(played.stdout)
    assert (status["state"], status["name"], status["length"]) == ("FINISHED", "outage", "0.400s")
    assert [step["state"] for step in status["steps"]] == ["DONE", "DONE", "ELSEWHERE", "ACTIVE"]
    with KmsClient(endpoint) as client:
        assert "/v4/" in client.status().key_id and client.status().healthz == "recovering"
        stopped = run_provider("scenario", "stop", "--socket", endpoint)
        assert stopped.returncode == 0 and stopped.stdout.startswith("outage finished, ")
        assert client.status().healthz == "ok"
    assert run_provider("scenario", "stop", "--socket", endpoint).returncode == 1
    assert scenario_status(endpoint)["state"] == "FINISHED"
    events = [json.loads(line)["event"] for line in run_provider("journal", "-o", "json", "--socket", endpoint).stdout.splitlines()]
    assert [event for event in events if "step 2" in event] == [
        'scenario outage, step 2: sets fault step-2 {"name":"step-2","preset":"unavailable",'
        '"error":{"code":"UNAVAILABLE","message":"the KMS is unavailable"}}',
        "scenario outage, step 2: clears fault step-2"]
    assert [event for event in events if "step 1" in event] == [event for event in events if "step 1: rotates the key to default/v4/" in event] != []
    assert "scenario outage is finished" in events and "scenario outage is stopped" not in events


def test_each_step_is_a_line_as_it_begins_and_ends(start_provider, directory, endpoint):
    start_provider(endpoint)
    (directory / "s.json").write_text(json.dumps({"name": "lines", "steps": [
        {"at": "0s", "do": {"rotate": {}}}, {"at": "0.1s", "until": "0.6s", "do": {"fault": {"hang": {}}}}]}))
    with Program(binary("mock-kms-provider"), "scenario", "run", directory / "s.json", "--wait", "--socket", endpoint, stdout=subprocess.PIPE) as run:
        assert run.process.stdout.readline() == "0  step 1 begins: rotate {}\n"
        assert run.process.stdout.readline().startswith("100ms  step 2 begins: fault step-2 {")
        followed = run_provider("scenario", "status", "--follow", "--socket", endpoint)
        assert run.process.stdout.readline() == "600ms  step 2 ends\n"
        assert run.process.stdout.readline().startswith("lines finished, ")
        assert run.wait() == 0
        run.process.stdout.close()
    assert "600ms  step 2 ends\nlines finished, " in followed.stdout


@pytest.mark.parametrize("kept", [False, True], ids=["without --state-dir", "with --state-dir"])
def test_a_scenario_warns_of_rotations_that_a_restart_loses(start_provider, directory, endpoint, kept):
    start_provider(endpoint, *(["--state-dir", directory / "state"] if kept else []))
    for step, rotates in (('{"rotate": {}}', True), ('{"fault": {"hang": {}}}', False)):
        done = run_provider("scenario", "run", "-", "--socket", endpoint, input='{"steps": [{"at": "10s", "do": %s}]}' % step)
        assert done.returncode == 0
        assert ("start it with --state-dir to keep them" in done.stderr) == (rotates and not kept)


def test_a_scenario_that_is_waited_for_names_the_end_of_its_provider(start_provider, endpoint):
    provider = start_provider(endpoint)
    with Program(binary("mock-kms-provider"), "scenario", "run", "-", "--wait", "--socket", endpoint, stdin=subprocess.PIPE,
                 stdout=subprocess.PIPE) as waiting:
        waiting.process.stdin.write('{"steps": [{"do": {"fault": {"healthz": "x"}}}, {"at": "60s", "do": {"rotate": {}}}]}')
        waiting.process.stdin.close()
        assert "begins" in waiting.process.stdout.readline()
        provider.send(signal.SIGKILL)
        assert waiting.wait() == 3
        assert waiting.stderr[-1].endswith(" ended; see its log for the cause, then run the command again")


def test_the_end_of_a_scenario_names_each_fault_that_it_clears(start_provider, endpoint):
    start_provider(endpoint)
    for at in ("0s", "60s"):  # the scenario is finished, or stopped
        steps = [{"do": {"fault": {"name": "one", "healthz": "x"}}}, {"do": {"fault": {"name": "two", "version": "x"}}}, {"at": at, "do": {"rotate": {}}}]
        assert run_provider("scenario", "run", "-", "--socket", endpoint, input=json.dumps({"steps": steps})).returncode == 0
        assert run_provider("scenario", "stop", "--socket", endpoint).returncode == 0
        shown = run_provider("journal", "-o", "json", "--socket", endpoint).stdout.splitlines()
        events = [json.loads(line)["event"] for line in shown]
        last = events[-3:-1] if at == "60s" else events[-2:]
        assert last == ["scenario, step 1: clears fault one", "scenario, step 2: clears fault two"], events


def test_durations_are_printed_as_options_take_them(start_provider, endpoint):
    start_provider(endpoint)
    added = run_provider("fault", "add", "latency", "--latency", "300ms", "--for", "1m30s", "--socket", endpoint)
    assert added.returncode == 0
    for command in (["fault", "list"], ["journal"]):
        shown = run_provider(*command, "--socket", endpoint).stdout
        assert '"for":"1m30s"' in shown and '"min":"300ms"' in shown
    step = '{"steps": [{"at": "1.2s", "until": "1h", "do": {"fault": {"hang": {}, "for": "90s"}}}]}'
    shown = run_provider("scenario", "run", "-", "--socket", endpoint, input=step).stdout
    assert "  1.2s        1h  fault step-1 " in shown and '"for":"1m30s"' in shown


def test_a_scenario_that_is_waited_for_and_replaced_fails(start_provider, endpoint):
    start_provider(endpoint)
    step = '{"steps": [{"at": "%s", "do": {"rotate": {}}}]}'
    with Program(binary("mock-kms-provider"), "scenario", "run", "-", "--wait", "--socket", endpoint, stdin=subprocess.PIPE) as waiting:
        waiting.process.stdin.write(step % "60s")
        waiting.process.stdin.close()
        while scenario_status(endpoint)["state"] != "RUNNING":
            pass
        assert run_provider("scenario", "run", "-", "--socket", endpoint, input=step % "0s").returncode == 0
        assert waiting.wait() == 1 and "another scenario replaced this one" in waiting.stderr[-1]


def test_a_scenario_of_the_file_begins_with_it_and_anew_only_when_it_changes(start_provider, directory, endpoint):
    file = directory / "provider.json"
    step = {"do": {"fault": {"name": "h", "healthz": "played"}}}
    file.write_text(json.dumps({"scenario": {"name": "one", "steps": [step]}}))
    program = start_provider(endpoint, "--config", file)
    with KmsClient(endpoint) as client:
        assert client.status().healthz == "played"
        first = scenario_status(endpoint)
        assert first["fromFile"] and first["state"] == "FINISHED"
        for config, begun in (({"keyVersion": 2, "scenario": {"name": "one", "steps": [step]}}, True),
                              ({"scenario": {"name": "two", "steps": [step]}}, False)):
            mark = len(program.stderr)
            file.write_text(json.dumps(config))
            program.wait_for_line("applied the configuration", start=mark)
            assert (scenario_status(endpoint)["begun"] == first["begun"]) == begun
        mark = len(program.stderr)
        file.write_text("{}")
        program.wait_for_line("applied the configuration", start=mark)
        assert scenario_status(endpoint)["state"] == "FINISHED"
        assert client.status().healthz == "ok"


def test_a_step_that_fails_says_why(start_provider, endpoint):
    start_provider(endpoint, "--key-version", 5)
    played = run_provider("scenario", "run", "-", "--wait", "--socket", endpoint, input='{"steps": [{"do": {"rotate": {"to": 2}}}]}')
    assert played.returncode == 1
    assert "failed" in played.stdout and "version 2 is not above 5" in played.stdout


def test_a_bad_scenario_is_refused_with_the_reason(start_provider, endpoint):
    start_provider(endpoint)
    done = run_provider("scenario", "run", "-", "--socket", endpoint, input='{"steps": [{}]}')
    assert done.returncode == 2 and "steps[0]: it does nothing" in done.stderr and done.stderr.count("\n") == 1
    assert run_provider("scenario", "status", "--socket", endpoint).stdout == "no scenario has run yet\n"


def test_the_same_seed_plays_a_scenario_with_the_same_outcome(start_provider, directory):
    scenario = json.dumps({"steps": [{"do": {"fault": {"preset": "flaky"}}}]})
    outcomes = []
    for number, seed in enumerate((5, 5, 6)):
        endpoint = f"unix://{directory}/{number}.sock"
        start_provider(endpoint, "--random-seed", seed)
        assert run_provider("scenario", "run", "-", "--socket", endpoint, input=scenario).returncode == 0
        with KmsClient(endpoint) as client:
            outcomes.append(outcomes_of(client, 60))
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_sighup_has_the_file_read_where_no_change_was_noticed(start_provider, directory, endpoint):
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "provider.json").write_text('{"keyVersion": 2}')
    os.link(elsewhere / "provider.json", directory / "provider.json")  # inotify tells of writes by the name watched alone
    program = start_provider(endpoint, "--config", directory / "provider.json")
    for text, line in (('{"keyVersion": 3}', "applied the configuration"), ("{", "the configuration is bad"),
                       ("{", "the configuration is bad"), ('{"keyVersion": 3}', "applied the configuration")):
        (elsewhere / "provider.json").write_text(text)
        start = len(program.stderr)
        program.send(signal.SIGHUP)
        program.wait_for_line(line, start=start)
    with KmsClient(endpoint) as client:
        assert client.status().key_id.startswith("default/v3/")
    assert program.stop() == 0


def test_sighup_without_a_file_is_told_and_changes_nothing(start_provider, endpoint):
    program = start_provider(endpoint)
    program.send(signal.SIGHUP)
    program.wait_for_line("there is no --config file to read again")
    with KmsClient(endpoint) as client:
        assert client.status().healthz == "ok"
    assert program.stop() == 0


def test_a_file_is_followed_without_inotify_too(directory, endpoint):
    """A user whose limit of inotify instances is used up, as on nodes with many watchers."""
    file = directory / "provider.json"
    file.write_text('{"keyVersion": 2}')
    no_inotify = ["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"', "sh"]
    if subprocess.run([*no_inotify, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine denies user namespaces")
    with Program(*no_inotify, binary("mock-kms-provider"), "--listen-addr", endpoint, "--config", file) as program:
        program.wait_for_line("it is read every second file=")
        program.wait_for_line(": started")
        for version, write in ((3, file.write_text), (4, lambda text: replace(file, text))):
            mark = len(program.stderr)
            write(json.dumps({"keyVersion": version}))
            program.wait_for_line("applied the configuration", start=mark)
            with KmsClient(endpoint) as client:
                assert f"/v{version}/" in client.status().key_id
        assert program.stop() == 0
