"""A command that reaches another socket than it needs names what is there and the next step."""

import pytest

from support.processes import DEADLINE, binary, run
from support.supervised import Supervised

PROVIDER, SUPERVISOR = "mock-kms-provider", "supervisor"


@pytest.fixture
def supervised(directory):
    endpoint = f"unix://{directory}/kms.sock"
    (directory / "plain").write_text("no socket\n")
    with Supervised(directory, [binary("mock-kms-provider"), "--listen-addr", endpoint], socket_uri=endpoint) as started:
        started.healthy()
        run(PROVIDER, "keys", "--socket", endpoint, check=True)  # waits for its control socket
        yield started


WRONG = [
    (SUPERVISOR, ["status"], "--control-socket", "kms.sock", "is not a supervisor's; pid ", "name the supervisor's with --control-socket", 3),
    (SUPERVISOR, ["status"], "--control-socket", "kms.sock.control", "is not a supervisor's; pid ", "(mock-kms-provider) listens there", 3),
    (SUPERVISOR, ["events"], "--control-socket", "plain", "it is not a socket", "start one with 'supervisor run'", 3),
    (PROVIDER, ["status"], "--socket", "kms.sock.control", "Status: UNIMPLEMENTED", "(mock-kms-provider) listens there", 1),
    (PROVIDER, ["status"], "--socket", "{control}", "Status: UNIMPLEMENTED", "(supervisor) listens there", 1),
    (PROVIDER, ["status"], "--socket", "plain", "it is not a socket", "start a plugin there", 3),
    (PROVIDER, ["rotate"], "--control-socket", "kms.sock", "is not a provider's control socket; pid ", "name it with --control-socket", 3),
    (PROVIDER, ["fault", "list"], "--control-socket", "{control}", "is not a provider's control socket; pid ", "(supervisor) listens there", 3),
    (PROVIDER, ["keys"], "--control-socket", "plain", "it is not a socket", "name its socket with --socket", 3),
    (SUPERVISOR, ["check"], "", "{control}", "Status is not implemented there; pid ", "name the plugin's socket", 1),
    (SUPERVISOR, ["check"], "", "plain", "it is not a socket", "name another ENDPOINT", 3),
]


@pytest.mark.parametrize(("program", "command", "option", "name", "cause", "next_step", "code"), WRONG)
def test_a_wrong_socket_is_named(supervised, directory, program, command, option, name, cause, next_step, code):
    uri = supervised.control if name == "{control}" else f"unix://{directory}/{name}"
    done = run(program, *command, *([option] if option else []), uri, timeout=DEADLINE)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == code and cause in last and next_step in last, done


def test_a_paused_plugin_is_said_to_be_paused(supervised):
    assert supervised.client("stop").returncode == 0
    for command in (["rotate"], ["fault", "list"], ["expect", "all == 0"]):
        done = run(PROVIDER, *command, "--socket", supervised.endpoint, timeout=DEADLINE)
        assert done.returncode == 3 and "its plugin is paused, is starting, is not mock-kms-provider, or has another --listen-addr; see 'supervisor status'" in done.stderr
    status = run(PROVIDER, "status", "--timeout", "100ms", "--socket", supervised.endpoint, timeout=DEADLINE)
    assert status.returncode == 3 and status.stderr.endswith("within 100.0 ms; see 'supervisor status'\n"), status.stderr


def test_a_start_that_changes_nothing_is_an_event(supervised):
    assert supervised.client("start").returncode == 1
    assert "nothing was started: the plugin is not paused" in supervised.client("events").stdout


def test_events_say_that_a_crash_was_injected(supervised):
    run(PROVIDER, "fault", "add", "crash", "--signal", "kill", "--method", "encrypt", "--first", 1, "--socket", supervised.endpoint, check=True)
    run(PROVIDER, "encrypt", "--socket", supervised.endpoint, input="secret", timeout=DEADLINE)
    supervised.program.wait_for_line("calls are answered again")
    events = supervised.client("events").stdout.splitlines()
    told = [line for line in events if "mock-kms-provider did it on purpose" in line]
    assert [line.split(None, 1)[1].startswith(("the plugin ended", "calls are answered again")) for line in told] == [True, True], events


def test_readiness_as_json_names_the_injected_faults(supervised):
    run(PROVIDER, "fault", "add", "slow", "--name", "late", "--socket", supervised.endpoint, check=True)
    for options in ([], ["--ready"], ["--live"]):
        assert '"late"' in supervised.client("status", *options, "-o", "json").stdout
    assert supervised.client("status", "--ready", "--follow").returncode == 2
