"""The rules of CONTRIBUTING.md that a machine can check: includes, sizes, words, formatting, shell scripts, help texts."""

import collections
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("provider", "supervisor", "builder")

# directory -> directories whose headers it may include, besides its own. The deepest directory that matches counts.
# common/build_info reads and writes a file whose format is a contract, so it alone of common/ includes proto/.
ARROWS = {
    "proto": set(),
    "common": set(),
    "common/build_info": {"common", "proto"},
    "provider": {"common", "proto"},
    "supervisor/lifecycle": {"common"},
    "supervisor": {"supervisor/lifecycle", "common", "common/build_info", "proto"},
    "builder": {"common", "common/build_info", "proto"},
    "bench": {"common", "proto"},
}

MIN_MEAN = 100  # lines of a file; more files with fewer lines each would scatter the subjects
MIN_LINES = 30  # of a file that is neither an interface nor a type that several directories need
INTERFACE = "the interface of a longer .cc"
MAIN = "only makes the command line, adds the commands and runs it"
SHORT_FILES = {  # each with its reason
    "common/text/logins.cc": "hides secrets, which no other file of text/ does",
    "common/text/logins.h": INTERFACE,
    "builder/source/proxy.h": INTERFACE,
    "builder/cache/key.h": INTERFACE,
    "builder/commands/commands.h": "declares the commands for main.cc",
    "builder/commands/option_file.h": INTERFACE,
    "supervisor/daemon/termination_message.h": INTERFACE,
    "builder/dependencies/go.h": INTERFACE,
    "builder/git/limits.h": "a type that source/, checkout/ and commands/ need",
    "builder/main.cc": MAIN,
    "builder/publish/new_file.h": INTERFACE,
    "builder/source/local.h": INTERFACE,
    "common/build_info/build_info.h": INTERFACE,
    "common/cli/exit_code.h": "the exit codes of all programs",
    "common/free.h": "a deleter for handles of OpenSSL, libgit2 and libcurl",
    "common/cli/reference.h": INTERFACE,
    "common/cli/usage_error.h": INTERFACE,
    "common/crypto/openssl.cc": "errors and set-up of every user of OpenSSL",
    "common/crypto/openssl.h": INTERFACE,
    "common/crypto/sha256.h": INTERFACE,
    "common/log/termination_message.cc": "the builder's and the supervisor's termination message",
    "common/log/termination_message.h": "the builder's and the supervisor's termination message",
    "common/net/grpc_status.cc": "texts of gRPC statuses for all clients",
    "common/net/grpc_status.h": "texts of gRPC statuses for all clients",
    "common/net/timed_action.h": INTERFACE,
    "common/process/startup.h": INTERFACE,
    "common/process/exit_status.cc": "text of an exit status for supervisor and builder",
    "common/process/identity.h": INTERFACE,
    "common/process/reaper.h": INTERFACE,
    "common/text/counted.h": "numbers with their nouns for all programs",
    "common/text/escape.h": INTERFACE,
    "common/text/glob.cc": "patterns of faults and signers",
    "common/text/glob.h": "patterns of faults and signers",
    "common/text/junit.h": INTERFACE,
    "common/text/lines.h": "the lines of a text for status and report",
    "common/text/nearest.h": INTERFACE,
    "common/text/time.h": INTERFACE,
    "common/text/user_json.h": INTERFACE,
    "provider/config/config.h": INTERFACE,
    "provider/faults/effects.h": INTERFACE,
    "provider/faults/presets.h": INTERFACE,
    "provider/inspect/input.h": INTERFACE,
    "provider/journal/summary.h": INTERFACE,
    "provider/kms/request_bytes.h": INTERFACE,
    "supervisor/conformance/report.h": INTERFACE,
    "supervisor/control/provider.h": INTERFACE,
    "supervisor/main.cc": MAIN,
    "supervisor/report/verdict.h": INTERFACE,
    "supervisor/report/timeline.h": INTERFACE,
    "supervisor/report/page.h": INTERFACE,
}


def directory_of(path):
    """The directory of ARROWS that a file or an included header belongs to, None for others."""
    return max((f for f in ARROWS if path.startswith(f + "/")), key=len, default=None)


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in out.stdout.split("\0") if name and (ROOT / name).exists()]


def text_of(name):
    return (ROOT / name).read_text()


def production():
    """The C++ files of the programs and of common/."""
    return [name for name in tracked("*.h", "*.cc") if name.startswith(("common/", *(f"{p}/" for p in PROGRAMS)))]


def includes_of(name):
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', text_of(name), re.M)


def test_includes_follow_the_arrows():
    sources = [name for name in tracked("*.h", "*.cc") if directory_of(name)]
    assert len(sources) > 50
    wrong = []
    for name in sources:
        for header in includes_of(name):
            own, theirs = directory_of(name), directory_of(header)
            if theirs is None or (theirs != own and theirs not in ARROWS[own]):
                wrong.append(f"{name} includes {header}")
    assert not wrong


def test_an_include_against_the_arrows_would_be_seen():
    assert directory_of("common/process/spawn.h") == "common"
    assert directory_of("common/build_info/build_info.h") == "common/build_info"
    assert "proto" not in ARROWS["common"]
    assert all(other not in ARROWS[program] for program in PROGRAMS for other in PROGRAMS if other != program)


def test_no_test_or_source_of_a_program_includes_another_program():
    wrong = []
    for name in tracked("*.h", "*.cc"):
        own = next((p for p in PROGRAMS if name.startswith((f"{p}/", f"tests/{p}/"))), None)
        wrong += [f"{name} includes {header}" for header in includes_of(name)
                  if own and any(header.startswith(f"{p}/") for p in PROGRAMS if p != own)]
    assert not wrong


def cycles(graph):
    """The strongly connected components with more than one node, each sorted."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = [stack.pop()]
            while component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found)


def test_directories_do_not_include_each_other_in_a_cycle():
    graph = collections.defaultdict(set)
    for name in production():
        own = str(pathlib.PurePath(name).parent)
        graph[own] |= {str(pathlib.PurePath(header).parent) for header in includes_of(name)} - {own}
    assert not cycles(graph)


def test_a_cycle_would_be_seen():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [["b", "c"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_a_file_has_the_size_of_a_subject():
    sizes = [text_of(name).count("\n") for name in production()]
    assert sum(sizes) / len(sizes) >= MIN_MEAN


def test_every_short_file_has_a_reason():
    short = {name for name in production() if text_of(name).count("\n") < MIN_LINES}
    assert not short - SHORT_FILES.keys()
    assert not SHORT_FILES.keys() - set(production()), "these are gone: remove them from SHORT_FILES"


def test_every_source_belongs_to_a_target():
    """A file that no CMakeLists.txt names is dead."""
    lists = "".join(text_of(name) for name in tracked("*CMakeLists.txt"))
    names = set(re.findall(r"[\w./-]+\.cc\b", lists))
    base_names = {pathlib.PurePath(name).name for name in names}
    assert not [name for name in tracked("*.cc") if pathlib.PurePath(name).name not in base_names]


def comments_of(name):
    """(line number, text) of each comment of a C++ or proto file; the lines of one block are one comment."""
    block, start = [], 0
    for number, line in enumerate(text_of(name).splitlines() + [""], 1):
        match = re.match(r"^\s*///?<? ?(.*)$", line)
        trailing = None if match else re.search(r"[;,{}]\s+//[/<]* (.*)$", line)
        if match:
            start = start if block else number
            block.append(match[1])
            continue
        if block:
            yield start, "\n".join(block)
            block = []
        if trailing:
            yield number, trailing[1]


def sources():
    return (*production(), *tracked("proto/*.proto", "bench/*.cc", "bench/*.h"))


def documents_and_tests():
    itself = pathlib.Path(__file__).relative_to(ROOT).as_posix()
    return [name for name in tracked("docs/*.md", "README.md", "SECURITY.md", "tests/*.cc", "tests/*.h", "tests/*.py") if name != itself]


def findings(files, pattern, exceptions=()):
    """`file:line: text` of each match in the files, without the exceptions."""
    found = []
    for name in files:
        for number, line in enumerate(text_of(name).splitlines(), 1):
            if re.search(pattern, line) and not any(re.search(e, line) for e in exceptions):
                found.append(f"{name}:{number}: {line.strip()}")
    return found


def test_no_comment_begins_with_a_relative_clause():
    found = []
    for name in (*production(), *tracked("proto/*.proto")):
        for number, text in comments_of(name):
            found += [f"{name}:{number}: {sentence}" for sentence in text.split("\n\n")
                      if re.match(r"(What|Whether|Of|Who|Which|Where)\b", sentence)]
    assert not found, "\n".join(found)


# Regular expression of an old word -> what to write, and patterns of lines in which it is plain English or another's term.
VOCABULARY = {
    r"\b(most|longest|least)_\w|\w_(most|longest|least)\b": ("max, min", [r"\b(read_)?at_(most|least)\b"]),
    r"\b[Ff]olders?\b": ("directory", []),
    r"\b(Surroundings|Supervision|SupervisorPlan)\b": ("InstanceContext, InstanceConfig, SupervisorConfig", []),
    r"\btold_|_told\b|\bLook\b[^ ]|\bstruct Look\b|\bnote_way\b|\btell_\w": ("report, Snapshot", []),
    r"\b(Retiree|retirees?)\b": ("draining", []),
    r"\bTurn\b|\bturn_\w|\w_turn\b": ("ActiveRole", []),
    r"\bFarewell\b|\bfarewell\b|\bstrike\b": ("ConnectionDrainer, apply_process_faults", []),
    r"\b(Incumbent|Becoming|NotBecome|Workplace|question_of)\b": ("OnLiveSocket, ExecRequest, ExecFailure, BuildDirs, source_key", []),
    r"\b(Planned|concerns_us)\b|\bfits\(": ("ActiveFault, applies_here, glob_match", [r"\bPlanned restarts\b"]),
    r"\b(Unanswered|NoAnswer)\b": ("CommandError", []),
    r"\b[Rr]ungs?\b|\bclimb_down|\bway_of\b|\w_way\b|\bway\s*=": ("Strategy, transport", [r"\b(under|one|on_the)_way\b|_(on_the|under)_way\b"]),
    r"\b[Pp]atience\b|\bPersistence\b": ("idle_timeout, RetryPolicy", []),
    r"\bown[_ ]death\b|\bsilence\b": ("exited, unresponsive", []),
    r"\b[Pp]roofs?\b": ("smoke test", []),
    r"\b[Cc]losures?\b|\bclose_over_needs\b": ("dependencies", []),
    r"\blast words\b": ("termination message", []),
    r"\bmend(s|ed|ing)?\b|\bbefell\b|\bwant of\b": ("fix, happened, lack of", []),
}


# The cleanup step needs a proof that nothing is encrypted any more.
ONLY_IN_SOURCES = {r"\b[Pp]roofs?\b"}


@pytest.mark.parametrize("word", VOCABULARY)
def test_the_old_word_is_gone(word):
    instead, exceptions = VOCABULARY[word]
    files = sources() if word in ONLY_IN_SOURCES else (*sources(), *documents_and_tests())
    found = findings(files, word, exceptions)
    assert not found, f"write {instead}:\n" + "\n".join(found)


def help_texts():
    binaries = os.environ.get("KMS_BIN_DIR", ROOT / "build/bin")
    for program in ("builder", "supervisor", "mock-kms-provider"):
        yield subprocess.run([f"{binaries}/{program}", "--help-all"], check=True, capture_output=True, text=True).stdout


def test_help_shows_choices_and_no_internal_map_of_the_parser():
    texts = list(help_texts())
    assert all("{text,json}" in text for text in texts)
    assert not [line for text in texts for line in text.splitlines() if "->" in line or " OR {" in line]


def needs(program):
    """Skips a test where a program is not installed, but in CI, which leaves nothing out."""
    return pytest.mark.skipif(shutil.which(program) is None and not os.environ.get("CI"), reason=f"{program} is not installed")

def other_formatter():
    """True if clang-format is not of the version that formats the sources: Debian 12's."""
    shown = shutil.which("clang-format") and subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    return bool(shown) and "version 14." not in shown


@needs("clang-format")
@pytest.mark.skipif(other_formatter(), reason="the sources are formatted by clang-format 14")
def test_sources_are_formatted():
    result = subprocess.run(["clang-format", "--dry-run", "--Werror", *tracked("*.h", "*.cc")], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[:2000]


@needs("shellcheck")
def test_shell_scripts_are_clean():
    scripts = [name for name in tracked("scripts", ".ci", "manifests", "bench")
               if (ROOT / name).read_bytes()[:32].splitlines()[0].endswith(b"sh") or name.endswith(".sh")]
    assert {"scripts/build", "scripts/run", "scripts/test", "scripts/setup.sh", ".ci/run"} <= set(scripts)
    result = subprocess.run(["shellcheck", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_no_source_names_a_package_host():
    hosts = re.compile(rb"\b(deb|security|snapshot|archive|ftp)\.debian\.org|registry\.npmjs|pypi\.org|proxy\.golang", re.I)
    itself = pathlib.Path(__file__).relative_to(ROOT).as_posix()
    assert not [name for name in tracked() if name != itself and hosts.search((ROOT / name).read_bytes())]
