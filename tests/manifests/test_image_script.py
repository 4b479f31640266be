"""scripts/image itself, with an engine that builds nothing: its files after an interrupted run, and beside a concurrent run."""

import fcntl
import os
import pathlib
import signal
import subprocess
import time

import pytest

from support import processes
from support.processes import DEADLINE

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tool(clone, name, text):
    """Puts a program before those of the machine."""
    (clone.parent / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
    (clone.parent / "bin" / name).chmod(0o755)


@pytest.fixture
def clone():
    """A clone of HEAD, with this checkout's script in it and the base that it would make."""
    directory = processes.short_directory()
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, directory / "c"], check=True)
    (directory / "c/scripts/image").write_text((ROOT / "scripts/image").read_text())
    (directory / "c/build/image").mkdir(parents=True)
    (directory / "c/build/image/base.tar").write_text("a base")
    (directory / "bin").mkdir()
    tool(directory / "c", "podman", "exit 0")
    yield directory / "c"
    processes.remove(directory)


def start(clone, *arguments):
    environment = {**os.environ, "PATH": f"{clone.parent}/bin:{os.environ['PATH']}"}
    return subprocess.Popen([clone / "scripts/image", "--engine=podman", *arguments, "runtime"], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_a_second_run_that_is_ended_while_it_waits_leaves_the_first_ones_files(clone):
    (clone / "build/image/rootfs").mkdir()
    tool(clone, "flock", f'touch {clone.parent}/waits; exec /usr/bin/flock "$@"')
    with (clone / "build/image/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with start(clone) as second:
            until = time.monotonic() + DEADLINE
            while not (clone.parent / "waits").exists():
                assert time.monotonic() < until and second.poll() is None
                time.sleep(0.05)
            os.killpg(second.pid, signal.SIGINT)  # as Ctrl-C
            assert second.wait(DEADLINE) == 128 + signal.SIGINT
    assert (clone / "build/image/rootfs").is_dir()


def test_a_context_that_was_not_made_whole_is_made_again(clone):
    with start(clone) as first:
        assert "built localhost/mock-kms-plugin-runtime" in first.communicate(timeout=60)[1] and first.returncode == 0
    # Another commit's clone fails in the middle, and then the first commit is checked out again.
    git = ["git", "-C", clone, "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "another"], check=True)
    tool(clone, "git", 'case "$*" in *clone*) exit 1 ;; esac\nexec /usr/bin/git "$@"')
    with start(clone) as second:
        second.communicate(timeout=60)
        assert second.returncode != 0
    (clone.parent / "bin/git").unlink()
    subprocess.run([*git, "reset", "-q", "--hard", "HEAD^"], check=True)
    with start(clone) as third:
        assert third.communicate(timeout=60) and third.returncode == 0
    assert (clone / "build/image/context/source.git/HEAD").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a checkout away")
def test_root_builds_images_from_the_checkout_of_another_user(clone):
    subprocess.run(["chown", "-R", "65534:65534", clone], check=True)
    with start(clone) as image:
        assert "built localhost/mock-kms-plugin-runtime" in image.communicate(timeout=60)[1] and image.returncode == 0


@pytest.mark.parametrize("machine,own,other", [("x86_64", "linux/amd64", "linux/arm64"), ("aarch64", "linux/arm64", "linux/amd64")])
def test_only_the_machine_s_own_platform_is_built(clone, machine, own, other):
    tool(clone, "uname", f"echo {machine}")
    with start(clone, "--platform", own) as image:
        assert "built localhost/mock-kms-plugin-runtime" in image.communicate(timeout=60)[1] and image.returncode == 0
    with start(clone, f"--platform={other}") as image:
        assert image.communicate(timeout=60)[1] == (
            f"scripts/image: --platform {other}: this machine is {own}, and the images are compiled by programs of their own platform; "
            f"run 'scripts/image' on a machine of {other}\n")
        assert image.returncode == 2
