"""What holds the house together: who may include whom, formatting, shell scripts, one command's worth of rules."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

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


def directory_of(path):
    """The directory of ARROWS that a file or an included header belongs to, None for others."""
    return max((f for f in ARROWS if path.startswith(f + "/")), key=len, default=None)


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in out.stdout.split("\0") if name]


def test_includes_follow_the_arrows():
    sources = [name for name in tracked("*.h", "*.cc") if directory_of(name)]
    assert len(sources) > 50
    wrong = []
    for name in sources:
        for header in re.findall(r'^\s*#\s*include\s+"([^"]+)"', (ROOT / name).read_text(), re.M):
            own, theirs = directory_of(name), directory_of(header)
            if theirs is None or (theirs != own and theirs not in ARROWS[own]):
                wrong.append(f"{name} includes {header}")
    assert not wrong


def test_an_include_against_the_arrows_would_be_seen():
    assert directory_of("common/process/spawn.h") == "common"
    assert directory_of("common/build_info/build_info.h") == "common/build_info"
    assert "proto" not in ARROWS["common"]
    assert "supervisor" not in ARROWS["builder"] and "provider" not in ARROWS["builder"]


def test_every_source_belongs_to_a_target():
    """A file that no CMakeLists.txt names is dead."""
    lists = "".join((ROOT / name).read_text() for name in tracked("*CMakeLists.txt"))
    names = set(re.findall(r"[\w./-]+\.cc\b", lists))
    base_names = {pathlib.PurePath(name).name for name in names}
    assert not [name for name in tracked("*.cc") if pathlib.PurePath(name).name not in base_names]


def needs(program):
    """Skips a test where a program is not installed, but in CI, which leaves nothing out."""
    return pytest.mark.skipif(shutil.which(program) is None and not os.environ.get("CI"), reason=f"{program} is not installed")


@needs("clang-format")
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
