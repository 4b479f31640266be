"""`cmake --install` of this build, and the completions and manual pages that the programs write."""

import gzip
import os
import pathlib
import re
import subprocess

import pytest

from support.processes import binary

PROGRAMS = ("builder", "supervisor", "mock-kms-provider")
BUILD = pathlib.Path(os.environ["KMS_BIN_DIR"]).parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("install")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", "/opt/kms"], env={**os.environ, "DESTDIR": str(root)}, check=True, capture_output=True)
    return root


def subcommands(*words):
    text = subprocess.run([binary(words[0]), *words[1:], "--help"], check=True, capture_output=True, text=True).stdout
    return re.findall(r"^  (\w[\w-]*) ", text.partition("\nSubcommands:\n")[2].partition("\n\n")[0], re.M)


def test_everything_is_below_the_prefix(installed):
    prefix = installed / "opt/kms"
    assert [path.name for path in installed.iterdir()] == ["opt"] and [path.name for path in (installed / "opt").iterdir()] == ["kms"]
    for program in PROGRAMS:
        shown = subprocess.run([prefix / "bin" / program, "--version"], check=True, capture_output=True, text=True).stdout
        assert re.fullmatch(rf"{program} \d+\.\d+\.\d+ \((commit [0-9a-f]{{12}}, )?\w+\)\n", shown)
        for path in (f"bash-completion/completions/{program}", f"zsh/vendor-completions/_{program}", f"fish/vendor_completions.d/{program}.fish"):
            assert (prefix / "share" / path).stat().st_size > 500
    assert (prefix / "share/doc/mock-kms-plugin/LICENSE").exists() and (prefix / "share/doc/mock-kms-plugin/docs/rotate.md").exists()
    unit = (prefix / "lib/systemd/system/mock-kms-plugin.service").read_text()
    assert "ExecStart=/opt/kms/bin/supervisor run" in unit and "/usr/bin/" not in unit


def test_every_command_has_a_manual_page_with_its_options(installed):
    pages = {path.name.removesuffix(".1.gz"): gzip.decompress(path.read_bytes()).decode()
             for path in (installed / "opt/kms/share/man/man1").iterdir()}
    expected = set(PROGRAMS)
    for program in PROGRAMS:
        for command in subcommands(program):
            expected.add(f"{program}-{command}")
            expected |= {f"{program}-{command}-{sub}" for sub in subcommands(program, command)}
    assert set(pages) == expected and len(expected) > 25
    page = pages["supervisor-status"].replace("\\-", "-")
    assert "--format" in page and "Environment: SUPERVISOR_FORMAT" in page and "Examples:" in page


def complete(program, *words):
    script = subprocess.run([binary(program), "--completion", "bash"], check=True, capture_output=True, text=True).stdout
    line = " ".join(f"'{word}'" for word in (program, *words))
    text = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _{program.replace('-', '_')}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return subprocess.run(["bash", "-c", text], check=True, capture_output=True, text=True).stdout.split()


def test_bash_completes_commands_options_and_choices():
    assert complete("supervisor", "sta") == ["status", "start"]
    assert complete("mock-kms-provider", "fault", "a") == ["add"]
    assert complete("supervisor", "status", "--form") == ["--format"]
    assert complete("supervisor", "status", "--format", "") == ["text", "json"]
    assert complete("supervisor", "status", "--format", "=", "j") == ["json"]
    assert complete("supervisor", "--socket", "status", "--log-level", "w") == ["warning"]


@pytest.mark.parametrize("arguments,reason", [
    (["--completion", "tcsh"], "--completion: tcsh not in {bash,zsh,fish}"),
    (["--manual", "/nowhere"], "--manual: /nowhere is not a directory; create it first"),
])
def test_a_wrong_value_is_one_line_with_code_2(arguments, reason):
    result = subprocess.run([binary("supervisor"), *arguments], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and reason in result.stderr
