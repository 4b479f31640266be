"""The isolation of fetched code while it is compiled and smoke-tested. Each attack runs twice: isolated, where it must fail,
and without isolation, where it must succeed: a test of a sandbox is worth what its control is worth."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest
from conftest import plugin
from test_build import info_of, output_of

LISTS = "cmake_minimum_required(VERSION 3.22)\nproject(plugin NONE)\n"
# The plugin prints the findings of the configuration as its --version.
FINISH = """
file(WRITE ${CMAKE_BINARY_DIR}/bin/mock-kms-provider "#!/bin/sh\\necho '${found}'\\n")
file(CHMOD ${CMAKE_BINARY_DIR}/bin/mock-kms-provider PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
add_custom_target(mock-kms-provider)
"""
READ_ENVIRONMENTS = """execute_process(COMMAND sh -c "cat /proc/*/environ | tr '\\\\0' '\\\\n' | grep -c MY_SECRET"
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
"""
ALL = ["user", "files", "network", "processes", "limits"]


@pytest.fixture(params=["isolated", "open"])
def attacked(request, workshop):
    """A workshop; attack() compiles a CMakeLists.txt and returns what it left in `found`."""
    workshop.isolated = request.param == "isolated"
    workshop.environment.update(BUILDER_ISOLATION="on" if workshop.isolated else "off")
    if workshop.isolated:
        workshop.environment.update(BUILDER_REQUIRE_ISOLATION="true")

    def attack(cmake, *options, **more):
        workshop.source.commit({"provider/CMakeLists.txt": LISTS + cmake + FINISH, "common/x": "x", "proto/x": "x"})
        workshop.built(*options, **more)
        return output_of(workshop).strip()

    workshop.attack = attack
    return workshop


@pytest.fixture
def isolated(workshop):
    workshop.environment.update(BUILDER_ISOLATION="on")
    return workshop


def test_a_token_beside_the_build_cannot_be_read(attacked):
    token = attacked.directory / "token"
    token.write_text("s3cret")
    token.chmod(0o644)  # its mode lets anybody
    found = attacked.attack(f'set(found nothing)\nif(EXISTS {token})\n  file(READ {token} found)\nendif()\n')
    assert found == ("nothing" if attacked.isolated else "s3cret")


def test_a_token_in_the_environment_cannot_be_read(attacked):
    found = attacked.attack('set(found "$ENV{GIT_TOKEN}$ENV{MY_SECRET}none")\n', environment={"GIT_TOKEN": "s3cret", "MY_SECRET": "x"})
    assert found == "none"  # isolated or not


def test_the_builder_s_environment_cannot_be_read_from_its_process(attacked):
    found = attacked.attack(READ_ENVIRONMENTS, environment={"MY_SECRET": "s3cret"})
    assert (found == "0") == (attacked.isolated or os.geteuid() != 0)


def test_nobody_can_be_called(attacked):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        found = attacked.attack(f"file(DOWNLOAD {url} x TIMEOUT 1 STATUS status)\nlist(GET status 0 found)\n")
        assert found != "0"  # nobody answers either way
        try:
            listener.accept()[0].close()
            called = True
        except BlockingIOError:
            called = False
    assert called == (not attacked.isolated)


def test_nothing_outside_can_be_written(attacked):
    outside = attacked.directory / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    attacked.attack(f'execute_process(COMMAND sh -c "mkdir -p {outside}; echo x > {outside}/x; echo x > /usr/x-of-kms-test" ERROR_QUIET)\nset(found done)\n')
    assert (outside / "x").exists() == (not attacked.isolated)
    assert pathlib.Path("/usr/x-of-kms-test").exists() == (not attacked.isolated and os.geteuid() == 0)
    pathlib.Path("/usr/x-of-kms-test").unlink(missing_ok=True)


def test_a_link_to_a_secret_is_not_published(attacked):
    secret = attacked.directory / "secret"
    secret.write_text("#!/bin/sh\necho s3cret\n")
    secret.chmod(0o755)
    attacked.source.commit({"provider/CMakeLists.txt": LISTS + f"""
file(MAKE_DIRECTORY ${{CMAKE_BINARY_DIR}}/bin)
file(CREATE_LINK {secret} ${{CMAKE_BINARY_DIR}}/bin/mock-kms-provider SYMBOLIC)
add_custom_target(mock-kms-provider)
""", "common/x": "x", "proto/x": "x"})
    assert "cannot find the executable" in attacked.failure()  # isolated or not


def processes_with(marker):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


def test_forking_without_end_ends_at_a_number_and_leaves_nobody(attacked):
    limit = 60
    script = """i=0; while [ $i -lt 200 ]; do setsid sleep 87654 >/dev/null 2>&1 & i=$((i+1)); done; ls -d /proc/[0-9]* | wc -l"""
    found = attacked.attack(f'execute_process(COMMAND sh -c "{script.replace("$", chr(92) + "$")}" OUTPUT_VARIABLE found '
                            'OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)\nif(NOT found)\n  set(found 0)\nendif()\n',
                            "--max-processes", str(limit))
    left = processes_with(b"sleep\x0087654")
    for pid in left:
        os.kill(pid, 9)
    if attacked.isolated:
        assert int(found) <= limit
        assert left == []
    else:
        assert len(left) == 200


def test_what_runs_for_ever_ends_at_the_deadline(isolated):
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + 'execute_process(COMMAND setsid sleep 76543)\n' + FINISH, "common/x": "x", "proto/x": "x"})
    line = isolated.failure("--build-timeout", "1s")
    assert line == ("builder: configure: cannot configure provider: it did not end within the time for the whole build; "
                    "raise --build-timeout, or find out what hangs")
    assert processes_with(b"sleep\x0076543") == []


def test_what_burns_the_processor_ends_at_its_time(isolated):
    """RLIMIT_CPU is the deadline too; what spins is killed whoever waits for it."""
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + 'execute_process(COMMAND sh -c "ulimit -t" OUTPUT_VARIABLE found '
                            'OUTPUT_STRIP_TRAILING_WHITESPACE)\n' + FINISH, "common/x": "x", "proto/x": "x"})
    isolated.built("--build-timeout", "77s")
    assert output_of(isolated) == "77\n"


@pytest.mark.parametrize("option, command, words", [
    ("--max-file", "dd if=/dev/zero of=big bs=1000000 count=3 2>/dev/null", "failed"),
    ("--max-memory", """python3 -c "bytearray(300000000)" 2>/dev/null""", "failed"),
])
def test_files_and_memory_have_a_limit(attacked, option, command, words):
    if "python3" in command and not shutil.which("python3"):
        pytest.skip("no python3")
    (attacked.source.path / "provider").mkdir()
    (attacked.source.path / "provider" / "try.sh").write_text(f"{command} && echo went || echo failed\n")
    found = attacked.attack("execute_process(COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/try.sh WORKING_DIRECTORY ${CMAKE_BINARY_DIR} "
                            "OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE)\n", option, "2000000" if option == "--max-file" else "200000000")
    assert found == (words if attacked.isolated else "went")


@pytest.mark.parametrize("mode", ["isolated", "denied", "off"])
def test_no_descriptor_of_the_builder_is_inherited(isolated, mode):
    isolated.source.commit({"provider/x": "x", "common/x": "x", "proto/x": "x"})
    command = "{ echo '#!/bin/sh'; echo echo $(ls /proc/self/fd); } > $OUTPUT && chmod +x $OUTPUT"
    done = isolated.build("--build", "command", "--build-command", command, "--isolation", "off" if mode == "off" else "on",
                          wrapper=NO_NAMESPACES if mode == "denied" else ())
    if "unshare" in done.err:
        pytest.skip("no user namespaces here")
    assert done.returncode == 0, done.err
    assert output_of(isolated) == "0 1 2 3\n"  # 3 is the directory that ls reads


def test_the_lock_cannot_be_taken_from_the_process_that_keeps_it(isolated):
    isolated.source.commit({"provider/x": "x", "common/x": "x", "proto/x": "x"})
    command = "{ echo '#!/bin/sh'; readlink /proc/$PPID/fd/3 > /dev/null 2>&1 && echo echo seen || echo echo hidden; } > $OUTPUT && chmod +x $OUTPUT"
    done = isolated.build("--build", "command", "--build-command", command, wrapper=NO_NAMESPACES)
    if "unshare" in done.err:
        pytest.skip("no user namespaces here")
    assert done.returncode == 0, done.err
    assert output_of(isolated) == "hidden\n"


def test_a_password_cannot_be_read_from_a_builder_that_compiles_as_itself(isolated):
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + READ_ENVIRONMENTS + FINISH, "common/x": "x", "proto/x": "x"})
    done = isolated.build(wrapper=NO_NAMESPACES, environment={"MY_SECRET": "s3cret"})
    if "unshare" in done.err:
        pytest.skip("no user namespaces here")
    assert done.returncode == 0, done.err
    assert "lacking=user,files,network,processes,limits" in done.err
    assert output_of(isolated) == "0\n"


def test_the_compiler_is_nobody_s_user_and_root_is_not_in_sight(isolated):
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + 'execute_process(COMMAND sh -c "id -u; ls / | xargs; ls /etc | xargs; '
                            'grep -c . /proc/net/route; grep NoNewPrivs /proc/self/status; grep CapEff /proc/self/status" '
                            'OUTPUT_VARIABLE found)\n' + FINISH, "common/x": "x", "proto/x": "x"})
    isolated.built("--require-isolation", environment={"PATH": "/usr/bin:/bin"})
    user, root, etc, routes, privileges, capabilities = output_of(isolated).splitlines()[:6]
    assert int(user) != 0
    assert set(root.split()) <= {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr"}
    assert "shadow" not in etc.split() and "passwd" not in etc.split()
    assert int(routes) <= 1  # the heading
    assert privileges.split()[1] == "1" and int(capabilities.split()[1], 16) == 0


def test_the_proof_is_isolated_too(isolated):
    token = isolated.directory / "token"
    token.write_text("s3cret")
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + f"""
file(WRITE ${{CMAKE_BINARY_DIR}}/bin/mock-kms-provider "#!/bin/sh\\ncat {token} 2>/dev/null || echo nothing\\n")
file(CHMOD ${{CMAKE_BINARY_DIR}}/bin/mock-kms-provider PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
add_custom_target(mock-kms-provider)
""", "common/x": "x", "proto/x": "x"})
    isolated.built()
    assert info_of(isolated)["binary"]["version"] == "nothing"


def test_what_is_in_force_is_logged_and_on_record(isolated):
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + "set(found x)\n" + FINISH, "common/x": "x", "proto/x": "x"})
    done = isolated.built()
    assert f"the compiler is isolated measures={','.join(ALL)}" in done.err
    assert info_of(isolated)["isolation"] == ALL


def test_more_directories_can_be_shown_to_the_compiler(isolated):
    extra = isolated.directory / "extra"
    extra.mkdir()
    (extra / "x").write_text("shown")
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + f"file(READ {extra}/x found)\n" + FINISH, "common/x": "x", "proto/x": "x"})
    isolated.built("--input", str(extra))
    assert output_of(isolated) == "shown\n"


def test_directories_behind_links_can_be_built_in_and_shown(isolated):
    """As on systems whose /home is a link."""
    real = isolated.directory / "real"
    (real / "extra").mkdir(parents=True)
    (real / "extra" / "x").write_text("shown")
    link = isolated.directory / "link"
    link.symlink_to(real)
    (isolated.directory / "shortcut").symlink_to(link / "extra")
    isolated.build_dir = link / "build"
    for extra in (link / "extra", isolated.directory / "shortcut"):
        isolated.source.commit({"provider/CMakeLists.txt": LISTS + f"file(READ {extra}/x found)\n" + FINISH, "common/x": "x", "proto/x": "x"})
        isolated.built("--require-isolation", "--input", extra)
        assert output_of(isolated) == "shown\n"


@pytest.mark.parametrize("directory, shown", [("bin", False), (".local/bin", False), ("tools/bin", True), (".", False)])
def test_a_tool_in_a_home_does_not_show_the_home(isolated, directory, shown):
    """A directory beside a tool's bin is shown if it can only be the tool's."""
    bin = isolated.directory / directory
    bin.mkdir(parents=True, exist_ok=True)
    (bin / "c++").write_text('#!/bin/sh\nexec /usr/bin/c++ "$@"\n')
    (bin / "c++").chmod(0o755)
    beside = (bin.parent if bin.name == "bin" else bin) / "token"
    beside.write_text("s3cret")
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + f"set(found nothing)\nif(EXISTS {beside})\n  file(READ {beside} found)\nendif()\n"
                            f"if(NOT EXISTS {bin}/c++)\n  set(found lost)\nendif()\n" + FINISH, "common/x": "x", "proto/x": "x"})
    isolated.built("--require-isolation", environment={"CXX": str(bin / "c++"), "PATH": f"{bin}:{isolated.environment['PATH']}"})
    assert output_of(isolated) == ("s3cret\n" if shown else "nothing\n")


# --- where less is allowed -------------------------------------------------------------------------------------------

DROPPED = "--bounding-set=-sys_admin"
NO_NAMESPACES = ["unshare", "--user", "--map-root-user", "sh", "-c",
                 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"', "sh"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def harmless(workshop):
    workshop.source.commit({"provider/CMakeLists.txt": LISTS + "set(found fine)\n" + FINISH, "common/x": "x", "proto/x": "x"})


@needs_root
def test_root_without_the_right_to_namespaces_takes_a_user_namespace(isolated):
    harmless(isolated)
    isolated.directory.chmod(0o755)
    isolated.built("--require-isolation", wrapper=["setpriv", DROPPED])
    assert info_of(isolated)["isolation"] == ALL


@needs_root
def test_root_without_any_capability_has_no_network_and_sees_no_other_process(isolated):
    """As in a systemd unit with an empty CapabilityBoundingSet."""
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + 'execute_process(COMMAND sh -c "wc -l < /proc/self/net/dev; kill -0 $ENV{WATCHED} '
                            '2> /dev/null || echo unseen" OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE)\n' + FINISH, "common/x": "x", "proto/x": "x"})
    done = isolated.built("--env", f"WATCHED={os.getpid()}", wrapper=["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
    assert "measures=network,processes lacking=user,files,limits" in done.err
    assert info_of(isolated)["isolation"] == ["network", "processes"]
    assert output_of(isolated).split() == ["3", "unseen"], "a head of two lines, and the loopback"


# A normal container: root of a user namespace with all ids, that may become anybody and make no namespaces.
CONTAINER = """
import ctypes, os, sys
reader, writer = os.pipe()
ready, go = os.pipe()
child = os.fork()
if child == 0:
    if ctypes.CDLL(None).unshare(0x10000000) != 0:
        sys.exit(77)
    os.write(writer, b"x")
    os.read(ready, 1)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.execvp("setpriv", ["setpriv", "--bounding-set=-sys_admin", *sys.argv[1:]])
os.close(writer)
if os.read(reader, 1):
    for kind in ("uid", "gid"):
        open(f"/proc/{child}/{kind}_map", "w").write("0 0 100000")
    os.write(go, b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@needs_root
def test_root_of_a_normal_container_compiles_as_another_user_with_limits(isolated):
    isolated.source.commit({"provider/CMakeLists.txt": LISTS + 'execute_process(COMMAND sh -c "id -u; ulimit -p" OUTPUT_VARIABLE found '
                            'OUTPUT_STRIP_TRAILING_WHITESPACE)\n' + FINISH, "common/x": "x", "proto/x": "x"})
    isolated.directory.chmod(0o755)
    done = isolated.build("--max-processes", "321", wrapper=["/usr/bin/python3", "-c", CONTAINER])
    if done.returncode == 77:
        pytest.skip("no user namespaces here")
    assert done.returncode == 0, done.err
    assert 'measures=user,limits lacking=files,network,processes why="cannot make ' in done.err
    assert output_of(isolated).split() == ["64731", "321"]


@needs_root
def test_below_a_directory_that_others_may_not_enter_root_compiles_elsewhere_as_another_user(isolated):
    """Without namespaces nothing hides that directory from the user; the published binary is found and run all the same."""
    harmless(isolated)
    isolated.directory.chmod(0o700)
    elsewhere = pathlib.Path(tempfile.mkdtemp(prefix="kms."))
    elsewhere.chmod(0o755)
    try:
        for end in ("compiler is not fully isolated", "up to date"):
            done = isolated.build(wrapper=["/usr/bin/python3", "-c", CONTAINER], environment={"TMPDIR": str(elsewhere)})
            if done.returncode == 77:
                pytest.skip("no user namespaces here")
            assert done.returncode == 0, done.err
            assert end in done.err, done.err
            assert "lacking=user" not in done.err and not list(elsewhere.iterdir())
            if end != "up to date":
                assert f"compiling in another directory directory={elsewhere} obstacle={isolated.directory}" in done.err
                assert "measures=user,limits lacking=files,network,processes" in done.err
        assert output_of(isolated) == "fine\n"
        isolated.assert_clean()
    finally:
        shutil.rmtree(elsewhere)


def test_where_everything_is_denied_one_line_says_so_and_the_build_goes_on(isolated):
    harmless(isolated)
    done = isolated.build(wrapper=NO_NAMESPACES)
    if "unshare" in done.err:
        pytest.skip("no user namespaces here")
    assert done.returncode == 0, done.err
    lines = [line for line in done.err.splitlines() if "not fully isolated" in line]
    assert len(lines) == 1
    assert "lacking=user,files,network,processes,limits" in lines[0] and "why=" in lines[0]
    assert "isolation" not in info_of(isolated)
    assert output_of(isolated) == "fine\n"


def test_where_something_is_denied_and_demanded_nothing_is_compiled(isolated):
    harmless(isolated)
    done = isolated.build("--require-isolation", wrapper=NO_NAMESPACES)
    if "unshare" in done.err:
        pytest.skip("no user namespaces here")
    assert done.returncode == 1
    last = done.err.splitlines()[-1]
    assert last.startswith("builder: prepare: cannot isolate the compiler from user,files,network,processes,limits: cannot ")
    assert not isolated.output.exists()
    isolated.assert_clean()


@needs_root
def test_somebody_else_than_root_has_all_of_it(isolated):
    """By a user namespace; the files keep their owner."""
    harmless(isolated)
    home = pathlib.Path(tempfile.mkdtemp(prefix="kms."))
    try:
        os.chown(home, 12345, 12345)
        subprocess.run(["chown", "-R", "12345:12345", isolated.source.path], check=True)
        isolated.directory.chmod(0o755)
        done = subprocess.run(
            ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", isolated.command()[0], "build", "--repo",
             isolated.source.path, "--build-dir", home / "b", "--output", home / "out" / "plugin", "--require-isolation"],
            env={**isolated.environment, "HOME": str(home)}, cwd=home, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "measures=" + ",".join(ALL) in done.stderr
        assert (home / "out" / "plugin").stat().st_uid == 12345
    finally:
        shutil.rmtree(home)


def test_isolation_that_is_off_cannot_be_demanded(isolated):
    done = isolated.build("--isolation", "off", "--require-isolation")
    assert done.returncode == 2
    assert "contradicts" in done.err
