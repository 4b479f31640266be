"""Compares the documentation with the programs: its examples run, its options and fields exist, its links resolve.

shell_session.py has the conventions for examples. In addition, a table of options stands below a heading "Options of `supervisor run`",
with the option in the first column and the default in the second. "Options of every command" lists the common ones.
"""

import os
import pathlib
import re
import subprocess

import pytest
from proto import (build_info_pb2, check_report_pb2, etcd_value_pb2, journal_summary_pb2, kms_v2_pb2, provider_config_pb2, provider_control_pb2,
                   provider_faults_pb2, report_pb2, supervisor_control_pb2)

from shell_session import ShellSession, examples, fences, matches, without_fences
from support import processes
from support.processes import binary

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
PROGRAMS = ["builder", "supervisor", "mock-kms-provider"]
ENVIRONMENT = re.compile(r"\b(?:BUILDER|SUPERVISOR|MOCK_KMS)_[A-Z_]*[A-Z]\b")


def name_of(path):
    return str(path.relative_to(ROOT))


def git(directory, *arguments):
    subprocess.run(["git", "-C", directory, "-c", "user.name=docs", "-c", "user.email=docs@localhost", *arguments],
                   check=True, capture_output=True)


def make_needy_repository(directory):
    """needy.git of docs/compile.md: its provider needs its proto."""
    source = directory / "needy.git"
    (source / "provider").mkdir(parents=True)
    (source / "proto").mkdir()
    git(source, "init", "-q", "-b", "main")
    (source / "provider" / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(plugin CXX)\nadd_executable(mock-kms-provider main.cc)\nadd_subdirectory(../proto proto)\n")
    (source / "provider" / "main.cc").write_text('#include <cstdio>\nint main() { std::puts("plugin 1.0"); }\n')
    (source / "proto" / "CMakeLists.txt").write_text("")
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "main")


def make_broken_repository(directory):
    """plugin.git of docs/troubleshooting.md and docs/builder.md: its branches fail in one phase each."""
    source = directory / "plugin.git"
    for part in ("provider", "common", "proto"):
        (source / part).mkdir(parents=True)
    git(source, "init", "-q", "-b", "main")
    lists = "cmake_minimum_required(VERSION 3.22)\nproject(plugin CXX)\nadd_executable(mock-kms-provider main.cc)\n"
    files = {"provider/CMakeLists.txt": lists, "common/error.h": "", "proto/kms.proto": "", "provider/main.cc": '#include <cstdio>\nint main() { std::puts("plugin 1.0"); }\n'}
    for branch, changes in {
        "main": files,
        "does-not-compile": {"provider/main.cc": "int main() { return undeclared; }\n"},
        "does-not-run": {"provider/main.cc": "int main() { return 3; }\n"},
    }.items():
        if branch != "main":
            git(source, "checkout", "-q", "-b", branch, "main")
        for path, content in changes.items():
            (source / path).write_text(content)
        git(source, "add", ".")
        git(source, "commit", "-q", "-m", branch)
    git(source, "checkout", "-q", "main")


@pytest.fixture
def session():
    directory = processes.short_directory()
    inside = directory / "d"
    inside.mkdir()
    make_broken_repository(inside)
    make_needy_repository(inside)
    environment = {key: value for key, value in os.environ.items() if not ENVIRONMENT.fullmatch(key)}
    for key in ("PYTHONPATH", "CXX", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        environment.pop(key, None)
    environment.update(PATH=f"{os.environ['KMS_BIN_DIR']}:{environment['PATH']}", CHECKOUT=str(ROOT), LC_ALL="C.UTF-8",
                       HOME=str(directory), CCACHE_DIR=str(directory / "ccache"))
    shell = ShellSession(inside, environment)
    shell.directory = inside
    yield shell
    shell.close()
    processes.remove(directory)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if examples(d.read_text())], ids=name_of)
def test_examples_print_what_the_document_says(session, document):
    text = document.read_text()
    for _, name, lines in fences(text):
        if name:
            (session.directory / name).write_text("\n".join(lines) + "\n")
    for command, expected in examples(text):
        output = session.run(command)
        assert matches(expected, output), "\n".join(
            [f"{name_of(document)}: $ {command}", "--- the document says", *expected, "--- the command prints", *output])


def test_an_example_that_is_wrong_would_be_seen():
    assert matches(["a … c", "…", "end"], ["a b c", "more", "lines", "end"])
    assert matches(["…"], []) and matches([], [])
    assert not matches(["a"], ["a", "b"])
    assert not matches(["a"], [])
    assert not matches(["a … c"], ["a b", "c"])
    assert examples("```console\n$ one \\\n> two\nout\n$ three\n```\n") == [("one \\\ntwo", ["out"]), ("three", [])]


def help_of(*command):
    program, *words = command
    environment = {key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    return subprocess.run([binary(program), *words, "--help"], env=environment, check=True, capture_output=True, text=True).stdout


def commands():
    """Every command of this build, such as ("supervisor", "run"), the bare programs included."""
    for program in PROGRAMS:
        yield (program,)
        listed = help_of(program).partition("\nSubcommands:\n")[2]
        for name in re.findall(r"^  (\w[\w-]*) ", listed, re.M):
            yield (program, name)


def options_in_help(*command):
    """{"--name": its default or None}"""
    found = {}
    for name, rest in re.findall(r"^  (?:-\w,)?(--[a-z-]+)(.*)$", help_of(*command), re.M):
        default = re.search(r"=(\S+)", rest.split("(Env")[0])
        found[name] = default and default.group(1)
    return found


def test_help_shows_choices_and_ranges_without_the_type_of_the_code():
    for command in commands():
        assert not re.findall(r"[A-Z]+:(?:\{|[A-Z]+ in )", help_of(*command)), command
    assert "{text,json}=text" in help_of("supervisor", "status")
    assert "UINT in [0 - 1000]" in help_of("supervisor", "status")


def options_in_documents():
    """{"supervisor run": {"--name": its default cell}} of all option tables; "*" are those of every command."""
    tables = {}
    for document in DOCUMENTS:
        table = None
        for line in without_fences(document.read_text()).splitlines():
            if line.startswith("#"):
                heading = re.fullmatch(r"#+ Options of (?:`(.+)`|(every command))", line)
                table = tables.setdefault(heading.group(1) or "*", {}) if heading else None
            elif table is not None and line.startswith("| `"):
                first, default = [cell.strip() for cell in line.strip("|").split("|")][:2]
                for name in re.findall(r"--[a-z-]+", first):
                    table[name] = default.strip("`")
    return tables


def test_every_option_is_documented_and_every_documented_option_exists():
    documented = options_in_documents()
    common = documented.pop("*")
    of_programs = {program: documented.get(program, {}).keys() for program in PROGRAMS}  # which the help of commands may list too
    wrong = []
    for command in commands():
        existing = options_in_help(*command)
        table = documented.pop(" ".join(command), {})
        wrong += [f"{command}: {name} is in no table" for name in existing.keys() - table.keys() - common.keys() - of_programs[command[0]]]
        wrong += [f"{command}: {name} is documented and does not exist" for name in table.keys() - existing.keys()]
        wrong += [f"{command}: {name} is {existing[name]} by default, not {default}"
                  for name, default in table.items() if existing.get(name) not in (None, default)]
    for script in [name for name in documented if name.startswith("scripts/")]:
        usage = subprocess.run([ROOT / script, "--help"], check=True, capture_output=True, text=True).stdout
        existing = set(re.findall(r"--[a-z]+(?:-[a-z]+)*\b", usage)) - {"--help"}
        if existing != documented.pop(script).keys():
            wrong.append(f"{script} has {sorted(existing)}")
    wrong += [f"there is no command '{name}'" for name in documented]
    assert not wrong


def test_every_environment_variable_that_is_named_exists():
    existing = {name for command in commands() for name in ENVIRONMENT.findall(help_of(*command))}
    assert len(existing) > 20
    named = {name for document in DOCUMENTS for name in ENVIRONMENT.findall(without_fences(document.read_text()))}
    assert not named - existing


@pytest.mark.parametrize("document,message", [
    ("docs/builder.md", build_info_pb2.BuildInfo),
    ("docs/supervisor.md", supervisor_control_pb2.SupervisorStatus),
    ("docs/declare.md", provider_control_pb2.ConfigStatus),
    ("docs/declare.md", provider_control_pb2.ScenarioStatus),
    ("docs/declare.md", provider_config_pb2.ProviderConfig),
    ("docs/declare.md", provider_config_pb2.Scenario),
    ("docs/declare.md", provider_config_pb2.Scenario.Step),
    ("docs/check-a-plugin.md", check_report_pb2.CheckReport),
    ("docs/inspect-etcd.md", etcd_value_pb2.InspectReport),
    ("docs/inspect-etcd.md", etcd_value_pb2.SurveyReport),
    ("docs/report.md", report_pb2.Report),
    ("docs/prove-calls.md", provider_control_pb2.CallRecord),
    ("docs/prove-calls.md", provider_control_pb2.CallCounts),
    ("docs/prove-calls.md", journal_summary_pb2.JournalSummary),
    ("docs/prove-calls.md", provider_control_pb2.LastPlaintextsReply),
    ("docs/inject-faults.md", provider_control_pb2.FaultList),
    ("docs/inject-faults.md", provider_control_pb2.AddFaultReply),
    ("docs/inject-faults.md", provider_control_pb2.ClearFaultsReply),
    ("docs/rotate.md", provider_control_pb2.RotateReply),
    ("docs/rotate.md", provider_control_pb2.KeyList),
    ("docs/supervisor.md", supervisor_control_pb2.Event),
    ("docs/supervisor.md", supervisor_control_pb2.OutputLine),
    ("docs/use-in-a-test.md", kms_v2_pb2.StatusResponse),
    ("docs/use-in-a-test.md", kms_v2_pb2.EncryptResponse),
], ids=lambda value: None if isinstance(value, str) else value.DESCRIPTOR.name)
def test_every_field_of_the_json_is_documented(document, message):
    text = (ROOT / document).read_text()
    documented_apart = (message.DESCRIPTOR, build_info_pb2.BuildInfo.DESCRIPTOR, provider_config_pb2.Scenario.Step.DESCRIPTOR,
                        provider_faults_pb2.Fault.DESCRIPTOR)

    def fields(descriptor, path=""):
        for field in descriptor.fields:
            name = path + field.json_name
            nested = field.message_type
            if nested is None or nested.GetOptions().map_entry or nested.full_name.startswith("google.") or nested in documented_apart:
                yield name
            else:
                yield from fields(nested, name + ".")

    assert not [name for name in fields(message.DESCRIPTOR) if f"`{name}`" not in text]


def test_the_rules_are_numbered_without_a_gap():
    text = (ROOT / "docs/kms-v2-rules.md").read_text()
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.M)]
    assert numbers == list(range(1, 36))


def slug(heading):
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def test_links_lead_somewhere():
    broken = []
    for document in DOCUMENTS:
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", without_fences(document.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (document.parent / path).resolve() if path else document
            anchors = {slug(h) for h in re.findall(r"^#+ (.*)$", without_fences(file.read_text()), re.M)} if anchor else set()
            if not file.exists() or (anchor and anchor not in anchors):
                broken.append(f"{name_of(document)}: {target}")
    assert not broken


def test_documents_that_sources_and_messages_refer_to_exist():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    missing = set()
    for name in listed.split("\0"):
        if re.search(r"\.(cc|h|proto|cmake|txt|py|sh)$|^scripts/", name):
            missing |= {(name, page) for page in re.findall(r"\bdocs/[\w-]+\.md", (ROOT / name).read_text()) if not (ROOT / page).exists()}
    assert not missing




def test_no_cell_of_a_table_is_longer_than_a_line():
    """Except in the benchmarks, whose tables bench/run writes."""
    long = []
    for document in DOCUMENTS:
        if document.name != "benchmarks.md":
            rows = [line for line in without_fences(document.read_text()).splitlines() if line.startswith("|")]
            long += [f"{name_of(document)}: {cell.strip()}" for row in rows for cell in re.split(r"(?<!\\)\|", row) if len(cell.strip()) > 120]
    assert not long


def test_the_files_that_contributing_names_exist():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    directories = {str(parent) for name in listed for parent in pathlib.PurePath(name).parents}
    named = re.findall(r"`((?:common|proto|provider|supervisor|builder|tests|bench|scripts|manifests)/[\w./-]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 10
    assert not [name for name in named if name.rstrip("/") not in directories and not (ROOT / name).is_file()]


def test_a_command_of_the_other_program_is_named_as_such():
    of = {program: {words[1] for words in commands() if words[0] == program and len(words) == 2} for program in ("supervisor", "mock-kms-provider")}
    for program, other in (("supervisor", "mock-kms-provider"), ("mock-kms-provider", "supervisor")):
        for name in of[other] - of[program]:
            refused = subprocess.run([binary(program), name], capture_output=True, text=True)
            assert refused.returncode == 2 and f"it is a command of {other}: '{other} {name}'" in refused.stderr, (program, name, refused.stderr)
