import functools
import os
import pathlib
import shutil
import subprocess

import pytest

from support import processes
from support.node import TARGETS, Node, container_environment

ROOT = pathlib.Path(__file__).resolve().parents[2]


@functools.cache
def why_not():
    """Why no container can run here; empty if they can. Tries a container of one static program that is not ours."""
    if shutil.which("podman") is None:
        return "podman is not installed (scripts/test installs it on Debian)"
    if os.geteuid() != 0:
        return "the base image and host paths of root need root"
    directory = processes.short_directory()
    (directory / "rootfs").mkdir()
    shutil.copy("/sbin/ldconfig", directory / "rootfs/program")
    trial = subprocess.run(["podman", "run", "--rm", "--net=none", "--rootfs", directory / "rootfs", "/program", "--version"],
                           env=container_environment(directory), capture_output=True, text=True, timeout=120)
    processes.remove(directory)
    return "" if trial.returncode == 0 else f"podman cannot start any container here: {trial.stderr.strip()}"


def pytest_collection_modifyitems(items):
    if why_not() and os.environ.get("CI"):
        pytest.exit(f"CI leaves nothing out: {why_not()}", returncode=1)
    if why_not():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=why_not()))


@pytest.fixture(scope="session")
def images():
    """The images of this checkout's commit, tagged `test`."""
    directory = processes.short_directory()
    result = subprocess.run([ROOT / "scripts/image", "--engine=podman", "--tag=test", *TARGETS],
                            env=container_environment(directory), capture_output=True, text=True, timeout=1500)
    assert result.returncode == 0, result.stderr
    yield container_environment(directory)
    processes.remove(directory)


@pytest.fixture
def node(images):
    directory = processes.short_directory()
    made = Node(directory)
    yield made
    made.close()
    processes.remove(directory)
