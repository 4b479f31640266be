"""The images as they were built: their size, their labels, their user, and that they need no shell."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from support.node import IMAGES, PLAY_DEADLINE

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000
RUNTIME, BUILDER, FULL, STAND_IN = (IMAGES[f"mock-kms-plugin-{target}"] for target in ("runtime", "builder", "full", "vault-stand-in"))


def inspect(node, image):
    return json.loads(node.podman("image", "inspect", image).stdout)[0]


def run(node, image, *command, **options):
    return node.podman("run", "--rm", "--network=none", "--read-only", "--cap-drop=all", image, *command, **options)


def test_the_runtime_image_is_small(node):
    assert inspect(node, RUNTIME)["Size"] <= 120 * MEGABYTE


@pytest.mark.parametrize("name", IMAGES.values())
def test_an_image_says_what_it_is_and_of_which_commit(node, name):
    labels = inspect(node, name)["Labels"]
    titles = {RUNTIME: "mock-kms-plugin runtime", BUILDER: "mock-kms-plugin builder", FULL: "mock-kms-plugin",
              STAND_IN: "mock-kms-plugin vault-stand-in"}
    assert labels["org.opencontainers.image.title"] == titles[name]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    assert labels["org.opencontainers.image.revision"] == commit
    assert labels["org.opencontainers.image.version"] in (ROOT / "common/cmake/Version.cmake").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["org.opencontainers.image.created"])
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


@pytest.mark.parametrize("image", IMAGES.values())
def test_no_image_runs_as_root_by_default(node, image):
    assert inspect(node, image)["User"] == ("65532:0" if image == STAND_IN else "65532:65532")


@pytest.mark.parametrize("image,program", [(RUNTIME, "supervisor"), (BUILDER, "builder")])
def test_an_image_starts_its_program_without_a_shell(node, image, program):
    config = inspect(node, image)["Config"]
    assert config["Entrypoint"] == [program]
    assert run(node, image, "--version").stdout.startswith(program)


def test_the_runtime_image_has_no_compiler(node):
    present = node.podman("run", "--rm", "--network=none", "--entrypoint", "ls", RUNTIME, "/usr/bin").stdout.split()
    assert {"supervisor", "mock-kms-provider"} <= set(present)
    assert not {"c++", "g++", "gcc", "cmake", "git", "builder"} & set(present)


def test_the_runtime_image_needs_no_shell(node):
    """Its shells are hidden while it starts and answers."""
    hidden = [f"--volume=/dev/null:/usr/bin/{shell}:ro" for shell in ("dash", "bash")]
    container = node.podman("run", "--detach", "--network=none", "--cap-drop=all", *hidden, RUNTIME).stdout.strip()
    try:
        assert node.exec(container, "sh", "-c", "true", check=False).returncode != 0
        assert node.status(container)["answer"]["healthz"] == "ok"
    finally:
        node.podman("rm", "--force", "--time", "0", container)


def test_the_full_image_serves_and_compiles(node):
    container = node.podman("run", "--detach", "--network=none", "--cap-drop=all", FULL).stdout.strip()
    try:
        assert node.status(container)["binary"]["matchesBuild"]
        for program in ("builder", "supervisor", "mock-kms-provider"):
            assert node.exec(container, program, "--version").stdout.startswith(program)
        node.exec(container, "builder", "build", timeout=PLAY_DEADLINE)
        assert node.exec(container, "/plugin/mock-kms-provider", "--version").stdout.startswith("mock-kms-provider")
    finally:
        node.podman("rm", "--force", "--time", "0", container)


def needed_libraries(node, image, path):
    """(libraries, newest version of glibc's symbols) that an ELF file of the image asks for."""
    headers = node.podman("run", "--rm", "--network=none", "--entrypoint", "objdump", image, "-p", path).stdout
    versions = [tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", headers)]
    return set(re.findall(r"NEEDED +(\S+)", headers)), max(versions)


def test_what_the_builder_image_compiles_needs_a_glibc_no_newer_than_its_own(node):
    """And nothing else, so that it runs wherever such a glibc is."""
    libraries, newest = needed_libraries(node, BUILDER, "/usr/libexec/mock-kms-plugin/mock-kms-provider")
    assert libraries <= {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}
    version = node.podman("run", "--rm", "--network=none", "--entrypoint", "ldd", BUILDER, "--version").stdout
    assert newest <= tuple(map(int, re.search(r"(\d+)\.(\d+)$", version.splitlines()[0]).groups()))


def test_the_prebuilt_provider_is_the_one_that_its_record_describes(node):
    directory = "/usr/libexec/mock-kms-plugin"
    digest = node.podman("run", "--rm", "--network=none", "--entrypoint", "sha256sum", RUNTIME, f"{directory}/mock-kms-provider").stdout.split()[0]
    record = json.loads(node.podman("run", "--rm", "--network=none", "--entrypoint", "cat", RUNTIME, f"{directory}/build-info.json").stdout)
    assert record["binary"]["sha256"] == digest
    assert record["commit"] == inspect(node, RUNTIME)["Labels"]["org.opencontainers.image.revision"]


def test_the_runtime_image_serves_by_itself_as_an_unprivileged_user(node):
    container = node.podman("run", "--detach", "--network=none", "--cap-drop=all", RUNTIME).stdout.strip()
    try:
        status = node.status(container)
        assert status["supervisorPid"] == 1
        assert status["binary"]["matchesBuild"]
        assert status["socket"]["endpoint"] == "unix:///var/run/kmsplugin/kms.sock"
    finally:
        node.podman("rm", "--force", "--time", "0", container)


def test_the_builder_image_holds_the_commit_it_was_built_from(node):
    built = node.podman("run", "--rm", "--network=none", BUILDER, "fetch", "--path=proto", "--into=/tmp/proto", "-o", "json").stdout
    assert json.loads(built)["commit"] == inspect(node, BUILDER)["Labels"]["org.opencontainers.image.revision"]


def working_containers(node):
    return set(node.podman("ps", "--all", "--external", "--quiet", "--filter", "name=-working-container").stdout.split())


def mounts(node):
    storage = pathlib.Path(os.environ["KMS_BUILD_DIR"]) / "containers/overlay"
    return {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if f" {storage}/" in line}


def test_a_build_that_is_interrupted_leaves_no_container_mount_or_file(node):
    clone = node.root / "c"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
    subprocess.run(["git", "-C", clone, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "--allow-empty", "-m", "not built yet"], check=True)
    (clone / "build/image").mkdir(parents=True)
    shutil.copy(ROOT / "build/image/base.tar", clone / "build/image")
    before = working_containers(node), mounts(node)
    with subprocess.Popen([clone / "scripts/image", "--engine=podman", "--tag=interrupted", "runtime"], env=node.environment, stderr=subprocess.DEVNULL) as build:
        log, until = clone / "build/image/runtime.log", time.monotonic() + PLAY_DEADLINE
        while not log.exists() or "Building CXX object" not in log.read_text():
            assert time.monotonic() < until and build.poll() is None
            time.sleep(0.05)
        assert mounts(node) > before[1]
        build.send_signal(signal.SIGTERM)
    assert build.returncode == 128 + signal.SIGTERM
    assert (working_containers(node), mounts(node)) == before
    assert set(os.listdir(clone / "build/image/engine")) <= {"buildah-cache"}
