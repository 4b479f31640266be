import functools
import os
import pathlib
import shutil
import subprocess

import pytest

from support import processes
from support.node import Node, container_environment

ROOT = pathlib.Path(__file__).resolve().parents[2]


@functools.cache
def why_not():
    """Why no container can run here; empty where they can. Asked of a container of one static program, none of ours."""
    if shutil.which("podman") is None:
        return "podman is not installed (scripts/test installs it on Debian)"
    if os.geteuid() != 0:
        return "the base image and host paths of root need root"
    folder = processes.short_folder()
    (folder / "rootfs").mkdir()
    shutil.copy("/sbin/ldconfig", folder / "rootfs/program")
    trial = subprocess.run(["podman", "run", "--rm", "--net=none", "--rootfs", folder / "rootfs", "/program", "--version"],
                           env=container_environment(folder), capture_output=True, text=True, timeout=120)
    processes.remove(folder)
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
    folder = processes.short_folder()
    result = subprocess.run([ROOT / "scripts/image", "--engine=podman", "--tag=test"],
                            env=container_environment(folder), capture_output=True, text=True, timeout=1500)
    assert result.returncode == 0, result.stderr
    yield container_environment(folder)
    processes.remove(folder)


@pytest.fixture
def node(images):
    folder = processes.short_folder()
    made = Node(folder)
    yield made
    made.close()
    processes.remove(folder)
