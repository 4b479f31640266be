"""scripts/package: the Debian package and the archive are installed into a clean root directory of Debian and removed again."""

import os
import pathlib
import re
import subprocess

import pytest

from support import processes

pytestmark = pytest.mark.skipif(not os.path.exists("/etc/debian_version"), reason="this is not Debian")
ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["KMS_BIN_DIR"]).parent
PROGRAMS = ("builder", "supervisor", "mock-kms-provider")
ROUND_TRIP = """
export SUPERVISOR_SOCKET=unix:///tmp/kms.sock SUPERVISOR_CONTROL_SOCKET=unix:///tmp/control.sock MOCK_KMS_SOCKET=unix:///tmp/kms.sock
supervisor run -- mock-kms-provider 2> /tmp/log &
supervisor status --wait 20s > /dev/null || cat /tmp/log
printf secret | mock-kms-provider encrypt | mock-kms-provider decrypt
kill $!
wait
rm -f /tmp/log /tmp/*.sock*
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    into = tmp_path_factory.mktemp("packages")
    made = subprocess.run([ROOT / "scripts/package", "--build-dir", BUILD, "--into", into], capture_output=True, text=True,
                          env={**os.environ, "DEBFULLNAME": "A. Packager", "DEBEMAIL": "packager@debian.org"})
    assert made.returncode == 0, made.stderr
    archive, deb = map(pathlib.Path, made.stdout.split())
    assert sorted(into.iterdir()) == [archive, deb] and deb.suffix == ".deb"
    assert re.fullmatch(r"mock-kms-plugin-\d+\.\d+\.\d+-linux-\w+\.tar\.gz", archive.name)
    return deb, archive


def source_of_packages():
    """Where this machine's apt gets Debian's packages from, and the suite."""
    lines = subprocess.run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)", "Created-By: Packages"],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    codename = re.search(r"^VERSION_CODENAME=(\w+)$", pathlib.Path("/etc/os-release").read_text(), re.M)[1]
    return next((uri, codename) for origin, uri, suite, component in (line.split("|") for line in lines)
                if (origin, suite, component) == ("Debian", codename, "main"))


def field(deb, name):
    shown = subprocess.run(["dpkg-deb", "--field", deb, name], check=True, capture_output=True, text=True)
    return shown.stdout.strip()


class System:
    """A root directory with nothing but Debian's smallest set of packages."""

    def __init__(self, root):
        self.root = root
        uri, suite = source_of_packages()
        subprocess.run(["unshare", "--mount", "--propagation", "slave", "debootstrap", "--variant=minbase", suite, root, uri],
                       check=True, capture_output=True, timeout=600)
        (root / "etc/resolv.conf").write_bytes(pathlib.Path("/etc/resolv.conf").read_bytes())

    def run(self, *command):
        done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc", "chroot", self.root,
                               "env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *command],
                              capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def files(self):
        """All files but those of the package manager, its caches and the dynamic linker's cache."""
        listing = self.run("find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/var/cache", "-o", "-path", "/var/lib/apt",
                           "-o", "-path", "/var/lib/dpkg", "-o", "-path", "/var/log", "-o", "-name", "ld.so.cache*", ")", "-prune", "-o", "-print")
        return set(listing.splitlines())


@pytest.fixture(scope="module")
def system():
    directory = processes.short_directory()
    (directory / "root").mkdir()
    yield System(directory / "root")
    processes.remove(directory)


def works(system):
    for program in PROGRAMS:
        assert re.match(rf"{program} \d+\.\d+\.\d+ \(", system.run(program, "--version"))
    assert system.run("sh", "-c", ROUND_TRIP) == "secret"


def test_lintian_finds_no_error(packages):
    checked = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", packages[0]], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_package_names_its_libraries_and_its_maintainer(packages):
    assert field(packages[0], "Maintainer") == "A. Packager <packager@debian.org>"
    depends = field(packages[0], "Depends")
    assert re.search(r"\blibc6 \(>= [\d.]+\)", depends) and "libgit2-" in depends
    assert {"g++", "cmake", "protobuf-compiler"} <= set(field(packages[0], "Suggests").split(", "))


def test_the_package_works_in_a_clean_system_and_leaves_nothing(packages, system):
    system.run("apt-get", "update", "-q")
    before = system.files()
    (system.root / "tmp/kms.deb").write_bytes(packages[0].read_bytes())
    system.run("apt-get", "install", "-q", "-y", "--no-install-recommends", "/tmp/kms.deb")
    (system.root / "tmp/kms.deb").unlink()
    works(system)
    assert "ExecStart=/usr/bin/supervisor run" in (system.root / "usr/lib/systemd/system/mock-kms-plugin.service").read_text()
    assert {"/usr/share/man/man1/supervisor-status.1.gz", "/usr/share/mock-kms-plugin/source.git/HEAD",
            "/usr/share/zsh/vendor-completions/_supervisor"} <= system.files()
    system.run("apt-get", "purge", "-q", "-y", "--autoremove", "mock-kms-plugin")
    assert system.files() == before


def test_the_archive_works_from_usr_local(packages, system):
    before = system.files()
    subprocess.run(["tar", "-xzf", packages[1], "-C", system.root, "--no-same-owner"], check=True)
    added = system.files() - before
    assert "/usr/local/share/zsh/site-functions/_supervisor" in added and all(path.startswith("/usr/local/") for path in added)
    names = [dependency.split()[0] for dependency in field(packages[0], "Depends").split(", ")]
    system.run("apt-get", "install", "-q", "-y", "--no-install-recommends", *names)
    works(system)
    assert "ExecStart=/usr/local/bin/supervisor run" in (system.root / "usr/local/lib/systemd/system/mock-kms-plugin.service").read_text()


@pytest.mark.parametrize("arguments,says", [
    (["--build-dir", "/nowhere"], "--build-dir: /nowhere is not a build of this project"),
    (["--into", "/dev/null"], "--into: /dev/null is not a directory"),
    (["--into"], "--into needs a value"),
    (["deb"], "unexpected argument 'deb'"),
])
def test_bad_usage_is_one_line_with_code_2(arguments, says):
    refused = subprocess.run([ROOT / "scripts/package", *arguments], capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and says in refused.stderr
