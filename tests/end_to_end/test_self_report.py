"""`supervisor status` shows what mock-kms-provider reports of itself: its --config and its control socket."""

import socket

import pytest

from support.processes import binary
from support.supervised import PLUGIN_WITH_ERRORS, Supervised, script

BAD = '{"faults": [{"preset": "nope"}]}'
WHY = "faults[0]: there is no preset 'nope'"


def provider(directory, *options):
    return [binary("mock-kms-provider"), f"--listen-addr=unix://{directory}/kms.sock", *options]


def refuse(program, file):
    mark = len(program.stderr)
    file.write_text(BAD)
    program.wait_for_line("the configuration is bad", start=mark)


def test_the_status_says_why_the_providers_file_was_refused_and_until_when_what_stays(directory):
    file = directory / "provider.json"
    file.write_text('{"keyVersion": 2}')
    with Supervised(directory, provider(directory, "--config", str(file))) as supervised:
        good = supervised.healthy()
        assert good["pluginConfig"]["file"] == str(file) and good["pluginConfig"]["error"] == ""
        assert f"  config     {file}, in effect since " in supervised.status_run().stdout
        refuse(supervised.program, file)
        shown = supervised.status_run()
        assert shown.returncode == 0, "the plugin itself is healthy"
        assert f"  config     {file}, REFUSED " in shown.stdout and WHY in shown.stdout and " stay in effect\n" in shown.stdout
        refused = supervised.status()["pluginConfig"]
        assert WHY in refused["error"] and refused["errorSince"]
        assert (refused["since"], refused["sha256"]) == (good["pluginConfig"]["since"], good["pluginConfig"]["sha256"])
        mark = len(supervised.program.stderr)
        file.write_text('{"keyVersion": 3}')
        supervised.program.wait_for_line("applied the configuration", start=mark)
        fixed = supervised.status()["pluginConfig"]
        assert fixed["error"] == "" and "errorSince" not in fixed
        assert "REFUSED" not in supervised.status_run().stdout


def test_of_several_plugins_the_one_whose_file_was_refused_is_named(directory):
    for number in 1, 2:
        (directory / f"{number}.json").write_text("{}")
    socket_uri = f"unix://{directory}/kms-{{n}}.sock"
    command = [binary("mock-kms-provider"), f"--listen-addr={socket_uri}", f"--config={directory}/{{n}}.json"]
    with Supervised(directory, command, ["--instances=2"], socket_uri=socket_uri) as two:
        two.healthy()
        refuse(two.program, directory / "2.json")
        rows = [line for line in two.status_run().stdout.splitlines() if "REFUSED" in line]
        assert len(rows) == 1 and rows[0].startswith(f"  config     instance 2: {directory}/2.json, REFUSED: {WHY}")


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_control_socket_elsewhere_is_found(directory, by):
    elsewhere = f"unix://{directory}/elsewhere.sock"
    (directory / "provider.json").write_text("{}")
    options = ["--config", f"{directory}/provider.json", *(["--control-socket", elsewhere] if by == "option" else [])]
    env = {"MOCK_KMS_CONTROL_SOCKET": elsewhere} if by == "variable" else {}
    with Supervised(directory, provider(directory, *options), env=env) as supervised:
        status = supervised.healthy()
        assert status["pluginControl"] == elsewhere and status["pluginConfig"]["file"] == f"{directory}/provider.json"


def test_a_provider_without_a_file_has_no_such_row(directory):
    with Supervised(directory) as supervised:
        assert "pluginConfig" not in supervised.healthy()
        assert "  config " not in supervised.status_run().stdout


@pytest.mark.parametrize("beside", ["nothing", "a socket that never answers", "a plugin that knows no such service"])
def test_another_plugin_is_shown_all_the_same_whatever_lies_where_the_control_socket_would(directory, beside):
    (directory / "healthz").write_text("ok")
    plugin = script(directory, PLUGIN_WITH_ERRORS)
    command = [*plugin, f"{directory}/kms.sock", str(directory / "healthz")]
    other = socket.socket(socket.AF_UNIX)
    if beside == "a socket that never answers":
        other.bind(f"{directory}/kms.sock.control")
        other.listen()
    elif beside == "a plugin that knows no such service":
        command += ["--control-socket", f"{directory}/kms.sock"]
    with other, Supervised(directory, command, ["--handover=off"]) as supervised:
        status = supervised.healthy()
        assert status["answer"]["keyId"] == "key-1"
        assert "pluginConfig" not in status and status["injectedFaults"] == []
