"""Lost output is a failure: every command that prints says why its output could not be written."""

import subprocess

import pytest

from support.processes import DEADLINE, binary, run_provider


def run_into_full(program, *args, stdin=b""):
    with open("/dev/full", "w") as full:
        return subprocess.run([binary(program), *map(str, args)], input=stdin, stdout=full, stderr=subprocess.PIPE, timeout=DEADLINE)


def expect_lost(done):
    assert done.returncode == 1
    assert b": cannot write to standard output: No space left on device\n" in done.stderr


@pytest.mark.parametrize("program", ["mock-kms-provider", "supervisor", "builder"])
@pytest.mark.parametrize("option", ["--help", "--version", "--help-all"])
def test_help_and_version(program, option):
    expect_lost(run_into_full(program, option))


@pytest.mark.parametrize("args", [
    ["status"], ["keys"], ["rotate"], ["journal"], ["journal", "-o", "json"], ["journal", "--counts"], ["journal", "--follow"],
    ["metrics"], ["fault", "list"], ["fault", "clear"], ["scenario", "status"], ["config"], ["encrypt"],
], ids=" ".join)
def test_every_command_of_the_provider(start_provider, endpoint, args):
    start_provider(endpoint)
    run_provider("encrypt", "--socket", endpoint, input="secret", check=True)
    expect_lost(run_into_full("mock-kms-provider", *args, "--socket", endpoint))
