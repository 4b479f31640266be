"""A build that is ended or killed: no process and no temporary file stays, and the output is whole at any moment."""
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
from conftest import BUILD_SCRIPT, BUILDER, names, plugin, project
from support import huge_repository
from support.git_servers import GitHttp, SilentServer
from support.processes import full_pipe, wait_for_exit

# The build step says that it runs, then waits until it is killed.
BLOCKING_STEP = "echo $$ > $BUILD_LOG.fifo; exec sleep 1000"


@contextlib.contextmanager
def blocked(workshop, *options):
    """A builder whose build step runs and waits, and that step's pid."""
    fifo = str(workshop.build_log) + ".fifo"
    if not os.path.exists(fifo):
        os.mkfifo(fifo)
    process = workshop.start(*options)
    with open(fifo) as reader:
        step = int(reader.read())
    yield process, step
    for stream in (process.stdout, process.stderr):
        stream.close()


def assert_whole(workshop, versions):
    """The output is one of the versions, and build-info.json describes it."""
    content = workshop.output.read_bytes()
    assert content.decode() in [plugin(version) for version in versions]
    info = json.loads((workshop.output.parent / "build-info.json").read_text())
    digest = hashlib.sha256(content).hexdigest()
    assert digest in (info["binary"]["sha256"], info.get("previous", {}).get("binary", {}).get("sha256"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_compiling_ends_the_children(workshop, number):
    workshop.source.commit(project(**{"provider/build.sh": BLOCKING_STEP}))
    with blocked(workshop) as (process, step):
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 1
        assert err.splitlines()[-1] == f"builder: ended by {number.name}; nothing was published"
        wait_for_exit(step)
    workshop.assert_clean()
    assert not workshop.output.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(workshop, number):
    """As nohup and a shell's background jobs have it."""
    gate = workshop.directory / "gate"
    os.mkfifo(gate)
    workshop.source.commit(project(**{"provider/build.sh": f"echo $$ > $BUILD_LOG.fifo; cat {gate}\n" + BUILD_SCRIPT}))
    fifo = str(workshop.build_log) + ".fifo"
    os.mkfifo(fifo)
    process = workshop.start(wrapper=["env", f"--ignore-signal={number.name[3:]}"])
    with open(fifo) as reader:
        reader.read()
    process.send_signal(number)
    gate.write_text("go on")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_a_signal_ends_a_builder_whose_lines_nobody_reads(workshop):
    read, write = full_pipe()
    command = [BUILDER, "fetch", "--repo", "/nowhere", "--path", "x", "--into", workshop.directory / "into"]
    with subprocess.Popen(command, stderr=write) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)  # its lines wait for a reader
        process.terminate()
        try:
            assert process.wait(20) == 1
        finally:
            process.kill()
            os.close(read)
            os.close(write)


def test_a_signal_ends_a_builder_that_hangs_in_a_file_system_and_the_next_run_cleans_up(workshop):
    """A FIFO that nobody writes to blocks open(2), as a file of a lost network file system does. The limit is 20 s."""
    workshop.source.commit(project())
    branch = workshop.source.path / ".git" / "refs" / "heads" / "main"
    commit = branch.read_text()
    branch.unlink()
    os.mkfifo(branch)
    process = workshop.start()
    assert any("fetching repository=" in line for line in iter(process.stderr.readline, ""))  # it reads the branch next
    process.terminate()
    try:
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1 and err == "", "it did not hang"
    branch.unlink()
    branch.write_text(commit)
    workshop.built()
    workshop.assert_clean()


def test_a_signal_while_a_server_is_silent(workshop):
    with SilentServer() as server:
        process = workshop.start(repo=server.url())
        assert server.connected.wait(20)
        process.terminate()
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "builder: ended by SIGTERM; nothing was published"
    workshop.assert_clean()


def test_a_signal_while_the_binary_is_proven(workshop):
    fifo = workshop.directory / "fifo"
    os.mkfifo(fifo)
    workshop.source.commit(project(**{"provider/plugin.sh": f"#!/bin/sh\necho $$ > {fifo}; exec sleep 1000\n"}))
    process = workshop.start()
    with open(fifo) as reader:
        step = int(reader.read())
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 1
    wait_for_exit(step)
    workshop.assert_clean()
    assert not workshop.output.exists()


def test_what_a_killed_builder_left_running_is_waited_for(workshop):
    workshop.source.commit(project(**{"provider/build.sh": BLOCKING_STEP}))
    with blocked(workshop) as (process, step):
        process.kill()
        process.wait(20)
        workshop.source.commit(project())
        following = workshop.start()
        lines = iter(following.stderr.readline, "")
        assert any("waiting for another builder" in line for line in lines)
        os.kill(step, signal.SIGKILL)
        _, err = following.communicate(timeout=60)
        assert following.returncode == 0, err
    assert_whole(workshop, ["1.0"])
    workshop.assert_clean()


def test_two_builders_with_one_build_directory_take_turns(workshop):
    workshop.source.commit(project())
    processes = [workshop.start("--force") for _ in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert workshop.compilations() == 3
    workshop.assert_clean()


def test_the_output_of_another_builder_is_waited_for_until_a_signal(workshop):
    workshop.source.commit(project())
    workshop.output.parent.mkdir()
    directory = os.open(workshop.output.parent, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    process = workshop.start()
    assert f"waiting for another builder's output directory={workshop.output.parent}" in process.stderr.readline()
    process.terminate()
    _, err = process.communicate(timeout=20)
    os.close(directory)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "builder: ended by SIGTERM; nothing was published"


def test_two_builders_with_one_output_leave_a_whole_pair(workshop):
    workshop.source.commit(project("1.0"))
    workshop.source.git("branch", "one")
    workshop.source.commit(project("2.0"))
    processes = []
    for number, ref in enumerate(["one", "main"] * 3):
        workshop.build_dir = workshop.directory / f"build{number}"
        processes.append(workshop.start("--force", "--ref", ref))
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert_whole(workshop, ["1.0", "2.0"])
    info = json.loads((workshop.output.parent / "build-info.json").read_text())
    assert info["binary"]["sha256"] == hashlib.sha256(workshop.output.read_bytes()).hexdigest()


MOMENTS = 100  # spread over a run's duration


def ended_at(process, moment, duration):
    """Ends the process at that part of its duration, by KILL and TERM in turn, unless it is done. Its return code."""
    number = [signal.SIGKILL, signal.SIGTERM][moment % 2]
    try:
        process.communicate(timeout=duration * moment / MOMENTS)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        if process.returncode == 1:
            assert err.splitlines()[-1] == "builder: ended by SIGTERM; nothing was published"
    assert process.returncode in (0, 1, -signal.SIGKILL, -signal.SIGTERM)
    return process.returncode


def test_ended_at_a_hundred_moments_a_build_leaves_a_whole_binary_and_the_next_run_cleans_up(workshop, git_http):
    workshop.source.git("config", "uploadpack.allowFilter", "true")
    url = git_http.url("source/.git")
    workshop.source.commit(project("1.0"))
    workshop.built(repo=url)
    began = time.monotonic()
    workshop.built("--force", repo=url)
    duration = time.monotonic() - began
    workshop.source.git("branch", "one")
    workshop.source.commit(project("2.0"))

    def left():
        return names(workshop.build_dir) | names(workshop.output.parent)

    ended = 0
    for moment in range(MOMENTS):
        before = left()
        process = workshop.start("--force", "--ref", ["one", "main"][moment // 2 % 2], repo=url)
        code = ended_at(process, moment, duration)
        ended += code != 0
        assert_whole(workshop, ["1.0", "2.0"])
        if code == 0:
            workshop.assert_clean()
        if code == 1:
            assert left() <= before, "something temporary is left, and not by one that was killed before"
    assert ended > MOMENTS / 4
    workshop.built("--force", repo=url)
    assert_whole(workshop, ["2.0"])
    workshop.assert_clean()


def test_ended_at_a_hundred_moments_a_fetch_leaves_all_or_nothing_and_the_next_run_cleans_up(workshop):
    huge_repository.generate(workshop.directory / "srv" / "some.git", files=600)
    into = workshop.directory / "into"

    def content():
        return sorted(file.read_bytes() for file in into.rglob("*") if file.is_file())

    def left():
        return {name for name in names(workshop.directory) if "into" in name}

    with GitHttp(workshop.directory / "srv") as server:
        command = [BUILDER, "fetch", "--repo", server.url("some.git"), "--path", huge_repository.PLUGIN, "--into", into]

        def start():
            return subprocess.Popen(command, text=True, env=workshop.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        began = time.monotonic()
        start().communicate(timeout=60)
        duration = time.monotonic() - began
        whole = content()
        assert len(whole) == huge_repository.PLUGIN_FILES
        ended = 0
        for moment in range(MOMENTS):
            shutil.rmtree(into, ignore_errors=True)
            before = left()
            code = ended_at(start(), moment, duration)
            ended += code != 0
            assert not into.exists() or content() == whole
            if code == 0:
                assert left() == {"into"}
            if code == 1:
                assert left() <= before, "something temporary is left, and not by one that was killed before"
        assert ended > MOMENTS / 4
        shutil.rmtree(into, ignore_errors=True)
        start().communicate(timeout=60)
    assert content() == whole and left() == {"into"}


@pytest.mark.parametrize("call", ["rename", "fsync", "fchmod", "write"])
def test_killed_at_each_system_call_of_publishing_it_leaves_a_whole_pair(workshop, call):
    strace = shutil.which("strace")
    if not strace or subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("strace is missing, or tracing is not allowed here")
    workshop.source.commit(project("1.0"))
    workshop.built()
    workshop.source.git("branch", "one")
    workshop.source.commit(project("2.0"))
    untraced = {"ASAN_OPTIONS": "detect_leaks=0"}  # the leak check traces, and a process has one tracer
    killed = 0
    for count in range(1, 200):
        kill = [strace, "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={count}"]
        done = workshop.build("--force", "--log-level", "error", "--ref", ["one", "main"][count % 2], wrapper=kill,
                              environment=untraced)
        assert_whole(workshop, ["1.0", "2.0"])
        if done.returncode == 0:
            break
        killed += 1
    assert killed >= 2 and done.returncode == 0
    workshop.built("--force")
    workshop.assert_clean()


def test_without_stdin_and_stderr_no_log_line_goes_into_the_lock(workshop):
    workshop.source.commit(project())
    done = workshop.build(wrapper=["sh", "-c", 'exec "$@" 0<&- 2>&-', "sh"])
    assert done.returncode == 0
    assert (workshop.build_dir / "mock-kms-build.lock").read_text().isdigit()


def test_a_log_that_nobody_reads_stops_nothing(workshop):
    workshop.source.commit(project())
    log = workshop.directory / "log"
    os.mkfifo(log)
    assert workshop.build("--log-file", log).returncode == 2  # no reader
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    noise = 'i=0; while [ $i -lt 3000 ]; do echo "$i........................................."; i=$((i+1)); done; '
    done = workshop.build("--build", "command", "--build-command", noise + "cp plugin.sh $OUTPUT; chmod +x $OUTPUT", "--log-file", log)
    os.close(reader)
    assert done.returncode == 0, done.err
    assert done.err.count(f"cannot write the log to {log}") == 1


def test_a_fifo_gives_a_password_once_and_is_no_key(workshop):
    workshop.source.commit(project())
    fifo = workshop.directory / "fifo"
    os.mkfifo(fifo)
    for option in ("--ssh-key", "--known-hosts", "--ca-file"):
        done = workshop.build(option, fifo)
        assert done.returncode == 2 and f"it is not a regular file; give {option} a file that stays" in done.err
    writes = []
    writer = threading.Thread(target=lambda: writes.append(fifo.write_text("secret\n")))
    writer.start()
    done = workshop.build("--password-file", fifo)
    writer.join()
    assert done.returncode == 0 and len(writes) == 1
