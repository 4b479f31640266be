"""The README's commands as a new user runs them: on a clone of this commit, with real builds and real signals."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import time

import pytest

from support import processes
from support.kms_client import KmsClient
from support.processes import Program

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD_DEADLINE = 900.0  # seconds; a cold build on a loaded machine
needs_namespaces = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0, reason="mount namespaces are refused here")


@pytest.fixture(scope="module")
def checkout():
    """A clone of HEAD, built once for the whole file."""
    directory = processes.short_directory()
    clone = directory / "c"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
    built = run(clone, "scripts/build", timeout=BUILD_DEADLINE)
    assert built.returncode == 0, built.stderr
    yield clone
    run(clone, "scripts/run", "--stop")
    processes.remove(directory)


PROGRAMS = {
    "cmake": """#!/bin/sh
[ "$1" != --version ] || exec /usr/bin/cmake --version
mkdir -p build/release/bin
cp "$STUBS/builder" "$KMS_BIN_DIR/supervisor" build/release/bin
""",
    "builder": """#!/bin/sh
while [ "$1" != --output ]; do shift; done
cp "$KMS_BIN_DIR/mock-kms-provider" "$2.new" && mv "$2.new" "$2"
""",
}


@pytest.fixture
def quick(directory):
    """A clone, with a blank in its path, in which building means copying this build's programs; and its environment."""
    clone = directory / "a clone"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
    stubs = directory / "stubs"
    stubs.mkdir()
    for name, text in PROGRAMS.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}", "STUBS": str(stubs), "KMS_BIN_DIR": os.path.abspath(os.environ["KMS_BIN_DIR"])}
    yield clone, env
    run(clone, "scripts/run", "--stop", env=env)


def supervisor_of(clone, env, directory):
    status = subprocess.run([clone / "build/bin/supervisor", "--control-socket", f"unix://{directory}/supervisor.sock", "status", "-o", "json"], env=env, capture_output=True, text=True)
    return json.loads(status.stdout)["supervisorPid"]


def run(clone, script, *arguments, timeout=BUILD_DEADLINE, **popen):
    # Output goes to files: a background supervisor must not hold a pipe of ours open, and a test would hang if it did.
    return subprocess.run([clone / script, *arguments], capture_output=True, text=True, timeout=timeout, **popen)


def untracked_outside_build(clone):
    out = subprocess.run(["git", "status", "--porcelain", "--ignored"], cwd=clone, capture_output=True, text=True, check=True)
    return [line for line in out.stdout.splitlines() if line[3:] != "build/"]


def processes_of(clone):
    """Pids whose executable lies in the clone."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "exe").startswith(str(clone)):
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def test_build_leaves_two_programs_and_not_the_provider(checkout):
    programs = set(os.listdir(checkout / "build/bin"))
    assert {"builder", "supervisor"} <= programs and "mock-kms-provider" not in programs


def pasted(result, command, clone, **popen):
    """Runs `command` in a shell into which the last line of `scripts/run` was pasted."""
    (exports,) = result.stdout.splitlines()
    return subprocess.run(["bash", "-c", f"{exports}\n{command}"], cwd=clone, capture_output=True, text=True, timeout=60, **popen)


def test_run_in_the_background_ends_with_a_line_to_paste_and_few_lines_in_all(checkout, directory):
    elsewhere = {"HOME": directory / "home", "TMPDIR": directory / "tmp"}
    for place in elsewhere.values():
        place.mkdir()
    result = run(checkout, "scripts/run", "--background", cwd=checkout, env={**os.environ, **elsewhere})
    assert result.returncode == 0, result.stderr
    assert "healthy, serving since" in result.stderr and "compiling mock-kms-provider" in result.stderr
    assert len((result.stderr + result.stdout).splitlines()) <= 12, result.stderr
    assert "phase=compile" in (checkout / "build/build.log").read_text()
    assert (checkout / "build/run/env").read_text() == result.stdout
    status = pasted(result, "supervisor status", "/")
    assert status.returncode == 0 and status.stdout.startswith("healthy")
    sealed = pasted(result, "echo -n secret | mock-kms-provider encrypt", "/")
    assert sealed.returncode == 0 and json.loads(sealed.stdout)["keyId"].startswith("default/v1/")
    assert pasted(result, "mock-kms-provider decrypt", "/", input=sealed.stdout).stdout == "secret"

    again = run(checkout, "scripts/run", "--background")
    assert again.returncode == 1 and "already running as pid" in again.stderr and f". {checkout}/build/run/env" in again.stderr

    stop = subprocess.run(re.search(r"to stop it: (.*)$", result.stderr, re.M)[1], shell=True, cwd="/", capture_output=True, text=True)
    assert stop.returncode == 0, stop.stderr
    assert processes_of(checkout) == []
    assert not [name for name in os.listdir(checkout / "build/run") if ".sock" in name]
    assert run(checkout, "scripts/run", "--stop").returncode == 3
    assert untracked_outside_build(checkout) == []
    assert [list(place.iterdir()) for place in elsewhere.values()] == [[], []]


def test_a_rotation_survives_a_second_run(quick, directory):
    clone, env = quick
    first = run(clone, "scripts/run", "--background", "--dir", directory / "state", env=env)
    assert pasted(first, "mock-kms-provider rotate --to 7 && supervisor restart", clone).returncode == 0
    assert run(clone, "scripts/run", "--stop", "--dir", directory / "state", env=env).returncode == 0
    second = run(clone, "scripts/run", "--background", "--dir", directory / "state", env=env)
    assert "key_id default/v7/" in second.stderr
    assert run(clone, "scripts/run", "--stop", "--dir", directory / "state", env=env).returncode == 0


def test_the_provider_in_use_is_the_commit_that_was_fetched(checkout):
    info = json.loads((checkout / "build/bin/build-info.json").read_text())
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True).stdout.strip()
    assert info["commit"] == head
    assert [path["path"] for path in info["paths"]] == ["provider", "common", "proto"]


def test_another_build_of_the_provider_elsewhere_is_the_same_bit_for_bit(checkout, directory):
    """The second one without ccache and without the build cache, in a directory with a longer name."""
    output = directory / "out" / "mock-kms-provider"
    done = subprocess.run(
        [checkout / "build/bin/builder", "build", "--repo", checkout, "--output", output, "--cache-max", "0", "--force",
         "--build-dir", directory / "a much longer name of" / "another directory"],
        env={**os.environ, "CCACHE_DISABLE": "1"}, capture_output=True, text=True, timeout=BUILD_DEADLINE)
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == (checkout / "build/bin/mock-kms-provider").read_bytes()


def test_the_second_run_compiles_nothing(checkout):
    result = run(checkout, "scripts/run", "--background")
    assert result.returncode == 0, result.stderr
    assert "build/bin/mock-kms-provider is up to date" in result.stderr
    assert "building" not in result.stderr and "compil" not in result.stderr, result.stderr
    assert run(checkout, "scripts/run", "--stop").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_foreground_run_ends_with_its_signal_and_leaves_nothing(checkout, number, directory):
    socket = f"unix://{directory}/kms.sock"
    output = directory / "output"
    with open(output, "w") as stdout:
        program = Program(checkout / "scripts/run", "--dir", directory / "state", f"--socket={socket}", stdout=stdout, preexec_fn=default_signals)
    with program:
        client = KmsClient(socket, timeout=BUILD_DEADLINE)
        assert client.status().healthz == "ok"
        client.close()
        until = time.monotonic() + BUILD_DEADLINE
        while "export PATH=" not in output.read_text():
            assert time.monotonic() < until, program.stderr
            time.sleep(0.1)
        program.send(number)
        assert program.wait() in (128 + number, -number)
    text = output.read_text()
    assert processes_of(checkout) == []
    assert not os.path.exists(f"{directory}/kms.sock") and not os.path.exists(directory / "state/supervisor.sock")
    assert (directory / "state/supervisor.log").exists()
    assert "export PATH=" in text and "build/run" not in text


def default_signals():
    """A shell that starts with SIGINT ignored cannot trap it; a terminal's does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_TERM_while_compiling_leaves_no_process(checkout, directory):
    shutil.rmtree(checkout / "build/builder", ignore_errors=True)
    published = [checkout / "build/bin" / name for name in ("mock-kms-provider", "build-info.json")]
    kept = {path: path.read_bytes() for path in published if path.exists()}
    for path in kept:
        path.unlink()
    with Program(checkout / "scripts/run", "--dir", directory, env={"CCACHE_DISABLE": "1"}) as program:
        program.wait_for_line("compiling", deadline=BUILD_DEADLINE)
        program.send(signal.SIGTERM)
        program.wait()
    assert processes_of(checkout) == []
    compilers = subprocess.run(["pgrep", "-f", str(checkout / "build/builder")], capture_output=True, text=True)
    assert compilers.stdout == ""
    assert not any(path.exists() for path in published)
    for path, content in kept.items():
        path.write_bytes(content)
        path.chmod(0o755)


@pytest.mark.parametrize("script", ["scripts/build", "scripts/run"])
def test_TERM_while_the_programs_are_built_leaves_no_process(script, directory):
    clone = directory / "c"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
    with Program(clone / script, env={"CCACHE_DISABLE": "1"}) as program:
        await_process(clone, "cc1plus")
        program.send(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM
    assert started_in(clone) == []


def test_stop_ends_a_run_that_is_still_building(directory):
    clone = directory / "c"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
    with Program(clone / "scripts/run", env={"CCACHE_DISABLE": "1"}) as program:
        await_process(clone, "cc1plus")
        stopped = run(clone, "scripts/run", "--stop")
        assert stopped.returncode == 0, stopped.stderr
        assert program.wait() == 128 + signal.SIGTERM
    assert started_in(clone) == []


def test_a_directory_too_deep_for_a_socket_is_refused_before_anything_is_built(directory):
    result = run(ROOT, "scripts/run", "--dir", directory / ("x" * 100))
    assert result.returncode == 2 and "107 bytes; name a shorter --dir" in result.stderr


def started_in(clone):
    """Pids and commands of living processes whose working directory lies in the clone; a zombie has none."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and pathlib.Path(os.readlink(entry / "cwd")).is_relative_to(clone):
                found.append((int(entry.name), (entry / "comm").read_text().strip()))
        except OSError:
            pass
    return found


def await_process(clone, command, deadline=120.0):
    until = time.monotonic() + deadline
    while command not in (name for _, name in started_in(clone)):
        assert time.monotonic() < until, f"no {command} was started in {clone}"
        time.sleep(0.02)


def test_stop_does_not_wait_for_a_zombie(quick, directory):
    clone, env = quick
    supervisor, socket, control = (f"{clone}/build/bin/supervisor", f"unix://{directory}/kms.sock", f"unix://{directory}/supervisor.sock")
    assert run(clone, "scripts/run", "--background", "--dir", directory / "first", env=env).returncode == 0
    assert run(clone, "scripts/run", "--stop", "--dir", directory / "first", env=env).returncode == 0
    with Program(supervisor, "--control-socket", control, "run", "--socket", socket, "--", clone / "build/bin/mock-kms-provider", "serve",
                 "--listen-addr", socket) as program:
        program.wait_for_line("supervising")
        # This process is its parent and reaps it only after the script's end.
        stopped = run(clone, "scripts/run", "--stop", "--dir", directory, env=env, timeout=20)
        assert stopped.returncode == 0 and "stopped" in stopped.stderr
        assert program.wait() == 0


@needs_namespaces
def test_stop_by_another_user_is_refused(quick, directory):
    clone, env = quick
    directory.chmod(0o755)
    assert run(clone, "scripts/run", "--background", env=env).returncode == 0
    pid = supervisor_of(clone, env, clone / "build/run")
    status = clone / "build/bin/supervisor"
    status.unlink()
    status.write_text(f"#!/bin/sh\necho ' \"supervisorPid\": {pid},'\n")
    status.chmod(0o755)
    result = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", clone / "scripts/run", "--stop"], capture_output=True, text=True)
    os.kill(pid, signal.SIGTERM)
    processes.wait_for_exit(pid)
    assert result.returncode == 1 and f"pid {pid}: not permitted" in result.stderr


def test_a_supervisor_that_ends_at_once_is_named_at_once(quick, directory):
    clone, env = quick
    result = run(clone, "scripts/run", "--background", "--dir", directory / "state", "--socket", directory / "missing/x.sock", env=env, timeout=25)
    assert result.returncode == 1
    *_, cause, last = result.stderr.splitlines()
    assert "missing" in cause and "the supervisor ended with code" in last and "supervisor.log" in last
    assert "cannot reach" not in result.stderr and started_in(clone) == []


def test_a_plugin_that_refuses_its_options_ends_the_run_at_once(quick, directory):
    clone, env = quick
    result = run(clone, "scripts/run", "--background", "--dir", directory / "state", env={**env, "MOCK_KMS_SEED_FILE": "/no/seed"}, timeout=25)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("scripts/run: the plugin does not start: cannot read seed file /no/seed: No such file")
    assert started_in(clone) == []


@pytest.mark.parametrize("ended_by,code,reason", [("stop", 0, "the supervisor was stopped"), ("kill", 1, "the supervisor ended with code 137")])
def test_a_foreground_run_ends_with_its_supervisor(quick, directory, ended_by, code, reason):
    clone, env = quick
    output = directory / "output"
    with open(output, "w") as stdout, Program(clone / "scripts/run", "--dir", directory / "state", env=env, stdout=stdout) as program:
        with KmsClient(f"unix://{directory}/state/kms.sock", timeout=60.0) as client:
            assert client.status().healthz == "ok"
        while "export PATH=" not in output.read_text():
            time.sleep(0.02)
        if ended_by == "stop":
            assert run(clone, "scripts/run", "--stop", "--dir", directory / "state", env=env).returncode == 0
        else:
            os.kill(supervisor_of(clone, env, directory / "state"), signal.SIGKILL)
        assert program.wait() == code
        assert reason in program.stderr[-1]
    assert not list((directory / "state").glob("*.sock*"))


def test_a_live_socket_of_another_program_is_left_to_it(quick, directory):
    clone, env = quick
    (directory / "state").mkdir()
    socket = f"unix://{directory}/state/kms.sock"
    with Program(processes.binary("mock-kms-provider"), "--listen-addr", socket) as other, KmsClient(socket) as client:
        assert client.status().healthz == "ok"
        result = run(clone, "scripts/run", "--background", "--dir", directory / "state", env=env)
        assert result.returncode == 1 and f"it is in use by pid {other.pid}" in result.stderr
        with KmsClient(socket) as later:
            assert later.status().healthz == "ok"


def test_the_printed_lines_work_from_any_directory_and_with_blanks(quick, directory):
    clone, env = quick
    result = run(clone, "scripts/run", "--background", "--dir", directory / "a state", env=env)
    assert result.returncode == 0, result.stderr
    stop = re.search(r"to stop it: (.*)$", result.stderr, re.M)[1]
    for command in ("supervisor status", "echo -n secret | mock-kms-provider encrypt", stop):
        done = pasted(result, command, "/", env=env)
        assert done.returncode == 0, done.stderr


def test_of_two_runs_at_once_one_is_refused_and_the_other_is_unharmed(quick, directory):
    clone, env = quick
    both = [subprocess.Popen([clone / "scripts/run", "--background", "--dir", directory / "state"], env=env, stdout=subprocess.DEVNULL,
                             stderr=open(directory / f"{n}.err", "w")) for n in (1, 2)]
    codes = [process.wait(BUILD_DEADLINE) for process in both]
    texts = [(directory / f"{n}.err").read_text() for n in (1, 2)]
    assert sorted(codes) == [0, 1], texts
    refusal = texts[codes.index(1)]
    assert "another 'scripts/run' starts or runs in" in refusal or "already running as pid" in refusal
    with KmsClient(f"unix://{directory}/state/kms.sock") as client:
        assert client.status().healthz == "ok"
    assert "supervising" in (directory / "state/supervisor.log").read_text()
    assert run(clone, "scripts/run", "--stop", "--dir", directory / "state", env=env).returncode == 0


@pytest.mark.parametrize("script,arguments,reason", [
    ("scripts/run", ["--sokcet"], "unexpected argument '--sokcet'"),
    ("scripts/run", ["--socket"], "--socket needs a value"),
    ("scripts/run", ["--socket", "tcp://x"], "is not an endpoint"),
    ("scripts/build", ["all"], "unexpected argument 'all'"),
    ("scripts/test", ["--preset", "fast"], "no preset 'fast'"),
])
def test_bad_usage_is_named_and_exits_2(checkout, script, arguments, reason):
    result = run(checkout, script, *arguments)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and reason in result.stderr


def in_a_crippled_machine(checkout, script, *commands):
    """Runs `script` without root where `commands` (of a shell, run as root in a mount namespace) have hidden things."""
    text = " && ".join([*commands, f"exec setpriv --reuid=65534 --regid=65534 --clear-groups {checkout}/{script}"])
    return subprocess.run(["unshare", "--mount", "sh", "-c", text], capture_output=True, text=True, stdin=subprocess.DEVNULL)


@needs_namespaces
@pytest.mark.parametrize("script", ["scripts/build", "scripts/run", "scripts/test"])
def test_without_root_what_is_missing_is_named(checkout, script):
    os.chmod(checkout.parent, 0o755)
    hide = [f"mount --bind /dev/null {shutil.which(name)}" for name in ("cmake", "protoc")]
    result = in_a_crippled_machine(checkout, script, *hide, *hide_sudo())
    assert result.returncode == 2, result.stderr
    # scripts/test also names what this machine lacks for the tests with containers.
    assert re.search(r"missing: cmake \(command\), protoc \(command\)(, [a-z-]+ \(command\))*; without root and sudo", result.stderr)
    assert "cmake protobuf-compiler" in result.stderr


def test_ci_runs_on_a_clean_clone_and_keeps_the_base_image_alone(directory):
    checkout = directory / "r"
    (checkout / "scripts").mkdir(parents=True)
    shutil.copytree(ROOT / ".ci", checkout / ".ci")
    (checkout / "scripts/fuzz").write_text("#!/bin/sh\nls\n")
    (checkout / "scripts/platforms").write_text("#!/bin/sh\n")
    (checkout / "scripts/test").write_text(
        "#!/bin/sh\nmkdir -p build/image && cat build/image/base.tar || { echo a base > build/image/base.tar; touch build/other; exit 1; }\n")
    git = ["git", "-C", checkout, "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for words in (["init", "-q"], ["add", "--chmod=+x", "scripts", ".ci"], ["commit", "-q", "-m", "stubs"]):
        subprocess.run([*git, *words], check=True)
    (checkout / "untracked").touch()
    env = {**os.environ, "TMPDIR": str(directory)}
    first = run(checkout, ".ci/run", env=env)
    assert first.returncode == 1 and first.stdout == "scripts\n"
    assert [path.name for path in (checkout / "build").rglob("*") if path.is_file()] == ["base.tar"]
    second = run(checkout, ".ci/run", env=env)
    assert second.returncode == 0 and second.stdout == "build\nscripts\na base\n"
    assert [path.name for path in directory.iterdir()] == ["r"]


@pytest.mark.parametrize("failing", ["fuzz", "platforms", "test", None])
def test_ci_ends_all_parts_when_one_fails_or_a_signal_comes(directory, failing):
    checkout = directory / "r"
    (checkout / "scripts").mkdir(parents=True)
    shutil.copytree(ROOT / ".ci", checkout / ".ci")
    for name in ("fuzz", "platforms", "test"):
        ends = "exit 3" if name == failing else "exit 0" if name == "fuzz" and failing in ("platforms", "test") else "exec sleep infinity"
        text = f": > {directory}/{name}; {'exit 0' if failing == 'test' and name == 'platforms' else ends}"
        (checkout / "scripts" / name).write_text(f"#!/bin/sh\n{text}\n")
    git = ["git", "-C", checkout, "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for words in (["init", "-q"], ["add", "--chmod=+x", "scripts", ".ci"], ["commit", "-q", "-m", "stubs"]):
        subprocess.run([*git, *words], check=True)
    with subprocess.Popen(["bash", ".ci/run"], cwd=checkout, env={**os.environ, "TMPDIR": str(directory)}, start_new_session=True) as ci:
        if failing is None:
            until = time.monotonic() + 20
            while not all((directory / name).exists() for name in ("fuzz", "platforms")):
                assert time.monotonic() < until
                time.sleep(0.05)
            ci.terminate()
        assert ci.wait(timeout=40) == (3 if failing else 143)
        assert subprocess.run(["pgrep", "-s", str(ci.pid)], capture_output=True, check=False).stdout == b""
    assert [path.name for path in directory.iterdir() if path.is_dir()] == ["r"]


@needs_namespaces
def test_what_only_saves_time_is_not_required(quick, directory):
    clone, env = quick
    hide = [f"mount --bind /dev/null {tool}" for tool in map(shutil.which, ("mold", "ccache")) if tool]
    text = " && ".join([*hide, *hide_sudo(), "exec scripts/build"])
    result = subprocess.run(["unshare", "--mount", "sh", "-c", text], cwd=clone, env=env, capture_output=True, text=True)
    assert result.returncode == 0 and "installing" not in result.stderr, result.stderr


@needs_namespaces
def test_an_installation_that_is_interrupted_leaves_no_policy_hook(quick, directory):
    clone, env = quick
    (directory / "stubs/apt-get").write_text(f"#!/bin/sh\nls /usr/sbin/policy-rc.d > {directory}/seen\nexec sleep infinity\n")
    (directory / "stubs/apt-get").chmod(0o755)
    hide = f"mount --bind /dev/null {shutil.which('protoc')} && mount -t tmpfs none /usr/sbin"
    text = f"{hide}; scripts/build & script=$!; while [ ! -s {directory}/seen ]; do sleep 0.02; done; kill -TERM $script; pkill -TERM -P $script; wait $script; ls /usr/sbin"
    result = subprocess.run(["unshare", "--mount", "sh", "-c", text], cwd=clone, env=env, capture_output=True, text=True, timeout=60)
    assert (directory / "seen").read_text() == "/usr/sbin/policy-rc.d\n"
    assert result.stdout == "", result.stderr


@needs_namespaces
def test_two_scripts_install_one_after_the_other(quick, directory):
    clone, env = quick
    (directory / "stubs/apt-get").write_text(f"#!/bin/sh\nmkdir {directory}/busy || touch {directory}/both\nsleep 0.3; rmdir {directory}/busy; exit 1\n")
    (directory / "stubs/apt-get").chmod(0o755)
    text = f"mount --bind /dev/null {shutil.which('protoc')} && mount -t tmpfs none /usr/sbin; scripts/build & scripts/fuzz 1; wait"
    result = subprocess.run(["unshare", "--mount", "sh", "-c", text], cwd=clone, env=env, capture_output=True, text=True, timeout=60)
    assert result.stderr.count("cannot install") == 2, result.stderr
    assert not (directory / "both").exists()


@needs_namespaces
@pytest.mark.parametrize("os_release,advice", [
    ("ID=fedora\nVERSION_ID=43\n", "install with: dnf install cmake protobuf-compiler grpc-devel"),
    ('ID=rocky\nID_LIKE="rhel centos fedora"\n', "install with: dnf install cmake protobuf-compiler grpc-devel"),
    ('ID=opensuse-tumbleweed\nID_LIKE="opensuse suse"\n', "install with: zypper install cmake protobuf-devel grpc-devel"),
    ("ID=alpine\n", "install with: apk add cmake protoc grpc-dev"),
    ("ID=manjaro\nID_LIKE=arch\n", "install with: pacman -S --needed cmake protobuf grpc"),
    ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', "without root and sudo nothing can be installed: run as root: apt-get install cmake protobuf-compiler libgrpc++-dev"),
    ("ID=debian\n", "without root and sudo nothing can be installed: run as root: apt-get install cmake protobuf-compiler libgrpc++-dev"),  # sid
    ("ID=mint\nID_LIKE=ubuntu\n", "without root and sudo nothing can be installed: run as root: apt-get install cmake protobuf-compiler libgrpc++-dev"),
    ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n', "Ubuntu 22.04.5 LTS is too old: it needs version 24.04 or newer"),
    ("ID=debian\nVERSION_ID=11\n", "debian is too old: it needs version 12 or newer"),
    ("NAME=A Linux (of\nID='fedora'\nVERSION_ID=\"43\n", "install with: dnf install cmake protobuf-compiler grpc-devel"),  # malformed
    ('ID="suse" \r\n', "install with: zypper install cmake protobuf-devel grpc-devel"),
    ("ID=nixos\n", "nixos is not supported: install what provides them (Debian's packages: cmake protobuf-compiler libgrpc++-dev) and start again"),
])
def test_each_distribution_gets_its_own_command(quick, directory, os_release, advice):
    clone, _ = quick
    (directory / "os-release").write_text(os_release)
    place = [f"mount --bind {directory}/os-release $(readlink -f /etc/os-release)"]
    assert missing_three(clone, directory, place) == f"scripts/run: missing: cmake (command), protoc (command), grpc++_unsecure (module); {advice}\n"


@needs_namespaces
@pytest.mark.parametrize("left,advice", [
    ("ID=alpine\n", "install with: apk add cmake protoc grpc-dev"),
    (None, "this system is not supported: install what provides them (Debian's packages: cmake protobuf-compiler libgrpc++-dev) and start again"),
])
def test_without_os_release_in_etc_the_one_below_usr_is_read(quick, directory, left, advice):
    clone, _ = quick
    place = [f"mkdir {directory}/over", f"mount -t tmpfs none {directory}/over"]
    for name in ("etc", "usr/lib"):
        own = f"{directory}/over/{name}"
        place += [f"mkdir -p {own} {own}.work", f"mount -t overlay -o lowerdir=/{name},upperdir={own},workdir={own}.work none /{name}", f"rm -f /{name}/os-release"]
    if left:
        (directory / "os-release").write_text(left)
        place.append(f"cp {directory}/os-release /usr/lib/os-release")
    assert missing_three(clone, directory, place) == f"scripts/run: missing: cmake (command), protoc (command), grpc++_unsecure (module); {advice}\n"


def said_without(clone, directory, place, hidden, script, *arguments):
    """What the script says without root where `hidden` files are empty, and the commands `place` have put an os-release into place."""
    for path in (directory, *directory.parents):
        if not path.stat().st_mode & 1:
            os.chmod(path, 0o755)
    hide = [f"mount --bind /dev/null {path}" for path in hidden]
    command = shlex.join(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"{clone}/{script}", *arguments])
    text = " && ".join([*place, *hide, *hide_sudo(), f"exec {command}"])
    result = subprocess.run(["unshare", "--mount", "sh", "-c", text], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert result.returncode == 2, result.stderr
    return result.stderr


def missing_three(clone, directory, place, script="scripts/run"):
    module = subprocess.run(["pkg-config", "--path", "grpc++_unsecure"], capture_output=True, text=True).stdout.strip()
    return said_without(clone, directory, place, [shutil.which("cmake"), shutil.which("protoc"), module], script)


@needs_namespaces
def test_a_system_of_another_family_needs_no_tools_for_debian_packages(quick, directory):
    clone, _ = quick
    (directory / "os-release").write_text("ID=fedora\n")
    place = [f"mount --bind {directory}/os-release $(readlink -f /etc/os-release)"]
    place += [f"mount --bind /dev/null {tool}" for tool in map(shutil.which, ("dpkg-shlibdeps", "dpkg-deb", "lintian")) if tool]
    said = missing_three(clone, directory, place, "scripts/test")
    assert "install with: dnf install cmake protobuf-compiler" in said
    assert "dpkg" not in said and "lintian" not in said


@needs_namespaces
@pytest.mark.parametrize("hidden,said", [
    (["etcd"], "missing: etcd (command, no package); Linux does not package it: install it in another way and start again"),
    (["etcd", "unzip"], "missing: etcd (command, no package), unzip (command); install with: apk add unzip"),
])
def test_a_need_without_a_package_is_named(quick, directory, hidden, said):
    clone, _ = quick
    (directory / "os-release").write_text("ID=alpine\nPRETTY_NAME=Linux\n")
    place = [f"mount --bind {directory}/os-release $(readlink -f /etc/os-release)"]
    files = [shutil.which(name) for name in hidden]
    assert said_without(clone, directory, place, files, "scripts/test", "--no-containers") == f"scripts/test: {said}\n"


def test_each_need_has_a_package_for_every_manager():
    lines = [line.split() for line in (ROOT / "scripts/packages").read_text().splitlines() if not line.startswith("#")]
    assert all(len(line) == 6 for line in lines)
    named = [line[0] for line in lines]
    assert len(named) == len(set(named))
    text = (ROOT / "scripts/setup.sh").read_text()
    needs = re.findall(r"\b(?:command|module|header|python):[\w+./-]+", " ".join(re.findall(r"^\w+=\((.*?)\)$", text, re.M | re.S)))
    assert len(needs) > 30 and not set(needs) - set(named)


APT = """#!/bin/sh
case "$1 $2" in
  "install --assume-no")
    echo "Need to get 12.5 MB/20 MB of archives."
    echo "After this operation, {size} of additional disk space will be used."
    exit 1 ;;
  install*)
    echo "$*" > "$STUBS/installed"
    echo "E: Unable to fetch some archives"
    exit 100 ;;
esac
"""


@needs_namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs")
@pytest.mark.parametrize("size,installs,reason", [
    ("5,000 GB", False, r"they need 5000012 MB and the disk has \d+ MB; free some space"),
    ("1,024 kB", True, "apt-get failed: Unable to fetch some archives; see build/packages.log"),
])
def test_an_installation_that_cannot_succeed_is_one_line(quick, directory, size, installs, reason):
    clone, env = quick
    had_policy = os.path.exists("/usr/sbin/policy-rc.d")  # images of containers may have one of their own
    (directory / "stubs/apt-get").write_text(APT.format(size=size))
    (directory / "stubs/apt-get").chmod(0o755)
    text = f"mount --bind /dev/null {shutil.which('protoc')} && exec scripts/build"
    result = subprocess.run(["unshare", "--mount", "sh", "-c", text], cwd=clone, env=env, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    announced, failed = result.stderr.splitlines()
    assert announced.startswith("scripts/build: installing protobuf-compiler")
    assert re.fullmatch(rf"scripts/build: cannot install protobuf-compiler[\w -]*: {reason}", failed)
    assert (directory / "stubs/installed").exists() == installs
    assert os.path.exists("/usr/sbin/policy-rc.d") == had_policy


OLD_GCC = 'case $1 in --version) echo "c++ (Debian) 11.4.0" ;; *) echo 11.4.0 ;; esac'
OLD_CLANG = 'case $1 in --version) echo "clang version 13.0.1" ;; *) echo 13.0.1 ;; esac'
BY_CXX = "install GCC 12, clang 14 or newer, and name it by CXX"


def stub(directory, name, text):
    (directory / "stubs" / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / "stubs" / name).chmod(0o755)


def without_cxx(env):
    return {key: value for key, value in env.items() if key != "CXX"}


@pytest.mark.parametrize("program,text,reason", [
    ("cmake", 'echo "cmake version 3.18.4"', "CMake 3.18.4 is too old; install CMake 3.22 or newer"),
    ("c++", OLD_GCC, f"GCC 11.4.0 is too old; {BY_CXX}"),
    ("c++", OLD_CLANG, f"clang 13.0.1 is too old; {BY_CXX}"),
    ("c++", "exit 127", f"the compiler c++ does not run; {BY_CXX}"),
])
def test_an_old_tool_is_named_before_anything_is_built(quick, directory, program, text, reason):
    clone, env = quick
    stub(directory, program, text)
    result = run(clone, "scripts/build", env=without_cxx(env))
    assert (result.returncode, result.stderr) == (2, f"scripts/build: {reason}\n")
    assert not (clone / "build/release").exists()


@pytest.mark.parametrize("script,arguments", [("scripts/test", ["--no-containers", "--preset", "clang"]), ("scripts/fuzz", ["1"])])
@pytest.mark.parametrize("text,reason", [(OLD_CLANG, "clang 13.0.1 is too old"), ("exit 127", "the compiler clang++ does not run")])
def test_a_script_that_uses_clang_checks_clang(quick, directory, script, arguments, text, reason):
    clone, env = quick
    stub(directory, "clang++", text)
    result = run(clone, script, *arguments, env={**env, "CXX": "g++"})
    assert (result.returncode, result.stderr) == (2, f"{script}: {reason}; install clang 14 or newer as clang++\n")


@pytest.mark.parametrize("cxx,called", [("c++ -m64", "c++ -m64"), ("ccache c++", "c++"), ("/usr/bin/ccache  c++ -m64", "c++ -m64")])
def test_CXX_may_have_arguments(quick, directory, cxx, called):
    """The build calls ccache itself."""
    clone, env = quick
    stub(directory, "c++", f'echo "c++ $*" >> {directory}/calls; case $* in *--version*) echo "c++ (Debian) 12.2.0" ;; *) echo 12.2.0 ;; esac')
    (directory / "stubs/cmake").write_text(PROGRAMS["cmake"] + f'echo "$CXX" > {directory}/cxx\n')
    result = run(clone, "scripts/build", env={**env, "CXX": cxx})
    assert result.returncode == 0, result.stderr
    assert f"{called} --version" in (directory / "calls").read_text().splitlines()
    assert (directory / "cxx").read_text().split() == called.split()


def hide_sudo():
    sudo = shutil.which("sudo")
    return [f"mount --bind /dev/null {sudo}"] if sudo else []
