"""`cmake --install` of this build, and the completions and manual pages that the programs write."""

import gzip
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support import processes
from support.processes import binary

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("builder", "supervisor", "mock-kms-provider")
BUILD = pathlib.Path(os.environ["KMS_BIN_DIR"]).parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("install")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", "/opt/kms"], env={**os.environ, "DESTDIR": str(root)}, check=True, capture_output=True)
    return root


@pytest.fixture(scope="module")
def checkout():
    """A clone of HEAD, with a blank in its path, which is configured and has this build's programs in place of its own."""
    parent = processes.short_directory()
    parent.chmod(0o777)
    clone = parent / "a checkout"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
    subprocess.run(["cmake", "-S", clone, "-B", clone / "build", "-G", "Ninja", "-D", "CMAKE_BUILD_TYPE=Release"], check=True, capture_output=True)
    (clone / "build/bin").mkdir(exist_ok=True)
    for program in PROGRAMS:
        shutil.copy(binary(program), clone / "build/bin")
    yield clone
    processes.remove(parent)


def install(checkout, prefix, *before, **environment):
    return subprocess.run([*before, "cmake", "--install", checkout / "build", "--prefix", prefix], env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.fixture
def owner(checkout, directory):
    """Gives the checkout to another user than root for a test: the words that run a command as that user, who may write to `directory`."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a checkout away")
    directory.chmod(0o777)
    subprocess.run(["chown", "-R", "65534:65534", checkout], check=True)
    yield ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    subprocess.run(["chown", "-R", "0:0", checkout], check=True)


def test_paths_with_blanks_lead_to_no_other_directory(checkout, directory):
    """The directory `a` has the name of the first word of `a checkout`."""
    other = checkout.parent / "a/file"
    other.parent.mkdir()
    other.touch()
    done = install(checkout, "/opt/a prefix", DESTDIR=str(directory / "a root"))
    assert done.returncode == 0, done.stderr
    prefix = directory / "a root/opt/a prefix"
    for path in ("bin/supervisor", "share/man/man1/supervisor.1.gz", "share/bash-completion/completions/supervisor", "share/mock-kms-plugin/source.git/HEAD"):
        assert (prefix / path).exists()
    formats = "DEB;TGZ" if shutil.which("dpkg-shlibdeps") else "TGZ"
    packed = subprocess.run(["cpack", "--config", checkout / "build/CPackConfig.cmake", "-G", formats, "-B", directory / "some packages",
                             "-D", "CPACK_PACKAGE_CONTACT=A. Packager <packager@example.org>"], capture_output=True, text=True)
    assert packed.returncode == 0, packed.stdout + packed.stderr
    assert len(list((directory / "some packages").glob("mock-kms-plugin*"))) == len(formats.split(";"))
    assert other.exists() and {path.name for path in checkout.parent.iterdir()} == {"a", "a checkout"}
    assert {path.name for path in directory.iterdir()} == {"a root", "some packages"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", ["a prefix", "50% of a; prefix"])
def test_systemd_finds_the_programs_below_any_prefix(checkout, directory, name):
    done = install(checkout, directory / name)
    assert done.returncode == 0, done.stderr
    units = sorted((directory / name / "lib/systemd/system").iterdir())
    assert len(units) == 2
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert checked.returncode == 0 and "mock-kms" not in checked.stderr, checked.stderr


@pytest.mark.parametrize("prefix,place", [
    ("/usr/local", "site-functions"), ("/usr", "vendor-completions" if os.path.exists("/etc/debian_version") else "site-functions")])
def test_completions_for_zsh_are_where_it_searches(checkout, directory, prefix, place):
    done = install(checkout, prefix, DESTDIR=str(directory / "root"))
    assert done.returncode == 0, done.stderr
    zsh = directory / f"root{prefix}/share/zsh"
    assert sorted(path.name for path in zsh.rglob("_*")) == ["_builder", "_mock-kms-provider", "_supervisor"]
    assert [path.name for path in zsh.iterdir()] == [place]


def test_root_installs_from_the_checkout_of_another_user(checkout, owner, directory):
    subprocess.run(["cmake", checkout / "build"], check=True, capture_output=True)
    assert "(commit " in (checkout / "build/common/cli/version.cc").read_text()
    done = install(checkout, directory / "root's")
    assert done.returncode == 0, done.stderr
    assert (directory / "root's/share/mock-kms-plugin/source.git/HEAD").exists() and not (checkout / "build/install").exists()
    (checkout / "build/install_manifest.txt").unlink()  # CMake's own, which any project leaves to root
    done = install(checkout, directory / "theirs", *owner)
    assert done.returncode == 0, done.stderr


def test_an_installation_that_fails_has_installed_nothing(checkout, directory):
    supervisor = checkout / "build/bin/supervisor"
    supervisor.write_text("#!/bin/sh\necho no library >&2\nexit 3\n")
    done = install(checkout, directory / "prefix")
    shutil.copy(binary("supervisor"), supervisor)
    assert done.returncode == 1 and "cannot install: 'supervisor --manual' failed (3): no library" in done.stderr
    assert not (directory / "prefix").exists()


def subcommands(*words):
    text = subprocess.run([binary(words[0]), *words[1:], "--help"], check=True, capture_output=True, text=True).stdout
    return re.findall(r"^  (\w[\w-]*) ", text.partition("\nSubcommands:\n")[2].partition("\n\n")[0], re.M)


def test_everything_is_below_the_prefix(installed):
    prefix = installed / "opt/kms"
    assert [path.name for path in installed.iterdir()] == ["opt"] and [path.name for path in (installed / "opt").iterdir()] == ["kms"]
    for program in PROGRAMS:
        shown = subprocess.run([prefix / "bin" / program, "--version"], check=True, capture_output=True, text=True).stdout
        commit = "commit [0-9a-f]{12}, " if (ROOT / ".git").exists() else ""
        assert re.fullmatch(rf"{program} \d+\.\d+\.\d+ \({commit}\w+\)\n", shown)
        for path in (f"bash-completion/completions/{program}", f"zsh/site-functions/_{program}", f"fish/vendor_completions.d/{program}.fish"):
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


def test_the_manual_pages_are_the_same_for_every_packager(checkout, owner, directory):
    names = ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR")
    other = {**{name: str(directory) for name in names}, "USER": "packager", "LOGNAME": "packager", "NODE_NAME": "node", "CXX": "packager-c++",
             "VAULT_KUBE_KMS_LOG_LEVEL": "warn"}
    assert install(checkout, directory / "mine").returncode == 0
    (checkout / "build/install_manifest.txt").unlink()
    done = install(checkout, directory / "another's", *owner, **other)
    assert done.returncode == 0, done.stderr
    mine, others = ({path.name: gzip.decompress(path.read_bytes()) for path in (directory / name / "share/man/man1").iterdir()}
                    for name in ("mine", "another's"))
    assert mine == others and len(mine) > 25


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
    (["--manual", "/nowhere"], "--manual: '/nowhere' is not a directory; create it first"),
])
def test_a_wrong_value_is_one_line_with_code_2(arguments, reason):
    result = subprocess.run([binary("supervisor"), *arguments], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and reason in result.stderr
