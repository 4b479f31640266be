"""Every way in which a build fails: exit code 1, one last line with cause and next step, nothing left behind."""
import os
import pathlib
import subprocess

import pytest
from conftest import BUILDER, CXX_MAIN, cxx_project, plugin, project, tools_without_ninja
from support.git_servers import GitHttp, RefusedPort, SilentServer


@pytest.fixture
def shop(workshop):
    workshop.source.commit(project())
    return workshop


def test_unknown_host(shop):
    line = shop.failure(repo="http://no-such-host.invalid/x.git")
    assert line.startswith("builder: fetch: cannot reach http://no-such-host.invalid/x.git: Could not resolve host: no-such-host.invalid; check the host's name in --repo")
    assert "; check the host's name" in line


@pytest.mark.parametrize("scheme", ["http", "git"])
def test_refused_connection(shop, scheme):
    with RefusedPort() as refused:
        line = shop.failure(repo=f"{scheme}://127.0.0.1:{refused.port}/x.git")
    assert line.startswith("builder: fetch: cannot reach ")
    assert "Connection refused; check host and port" in line


@pytest.mark.parametrize("transport", ["http", "git"])
def test_no_such_repository_on_a_server(shop, transport, git_http, git_daemon):
    line = shop.failure(repo=(git_http if transport == "http" else git_daemon).url("nothing.git"))
    assert line.startswith(f"builder: fetch: cannot {'reach' if transport == 'http' else 'fetch from'} ")
    assert "; check the path in --repo" in line


def test_no_such_repository_here(shop):
    assert shop.failure(repo=shop.directory / "nothing").startswith("builder: fetch: cannot open ")
    assert "it is not a git repository; give --repo" in shop.failure(repo=shop.directory)


def test_authentication(shop):
    with GitHttp(shop.directory / "srv", users={"me": "right-one"}) as server:
        line = shop.failure(repo=server.url("source/.git"))
        assert "cannot reach" in line and "asks for a user and a password" in line and "; give --user and --password-file" in line
        line = shop.failure(repo=server.url("source/.git", "me:wr%6Fng"))
        assert "refuses the user and password; give the right --user" in line
        assert "wr%6Fng" not in line and "wrong" not in line and "me:" not in line


def test_a_server_that_says_nothing(shop):
    with SilentServer() as server:
        line = shop.failure("--fetch-timeout", "300ms", repo=server.url())
    assert line.startswith("builder: fetch: cannot fetch from ")
    assert "said nothing for 300.0 ms; check the server" in line


@pytest.mark.parametrize("transport", ["path", "http", "git"])
def test_no_such_ref(shop, transport, request):
    repo = shop.source.path if transport == "path" else request.getfixturevalue(
        "git_http" if transport == "http" else "git_daemon").url("source/.git")
    line = shop.failure("--ref", "mian", repo=repo)
    assert line.startswith("builder: fetch: cannot find ref 'mian': ") and line.endswith("; did you mean 'main'?")
    line = shop.failure("--ref", "0123456789012345678901234567890123456789", repo=repo)
    assert line.startswith("builder: fetch: cannot find commit 0123456789012345678901234567890123456789: ")


@pytest.mark.parametrize("transport", ["path", "http"])
def test_a_repository_without_a_commit(workshop, transport, request):
    repo = workshop.source.path if transport == "path" else request.getfixturevalue("git_http").url("source/.git")
    assert "cannot find HEAD: " in workshop.failure(repo=repo)


def test_no_such_path(shop, git_http):
    for repo in (shop.source.path, git_http.url("source/.git")):
        line = shop.failure("--path", "provder", repo=repo)
        assert line == "builder: checkout: cannot find 'provder' in the commit's tree; did you mean 'provider'?"


def test_a_path_without_a_project(shop):
    line = shop.failure("--path", "proto")
    assert line.startswith("builder: configure: cannot compile proto: it holds no CMakeLists.txt, go.mod or Makefile; ")


def test_a_link_out_of_the_tree(shop):
    (shop.source.path / "provider" / "link").symlink_to("../../outside")
    shop.source.commit({})
    assert "builder: checkout: cannot check out 'provider/link': it is a symbolic link" in shop.failure()


@pytest.fixture
def small_disk(shop):
    """A tmpfs of 256 KiB at shop.directory/small."""
    directory = shop.directory / "small"
    directory.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", directory], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is refused here: run as root with CAP_SYS_ADMIN")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


@pytest.mark.parametrize("transport", ["path", "http"])
def test_a_full_disk_while_fetching(shop, small_disk, transport, request):
    blob = os.urandom(600_000).hex()  # random, so that it does not compress
    shop.source.commit({"provider/big": blob})
    shop.build_dir = small_disk
    repo = shop.source.path if transport == "path" else request.getfixturevalue("git_http").url("source/.git")
    line = shop.failure(repo=repo)
    assert line.startswith("builder: " + ("checkout: cannot write" if transport == "path" else "fetch: cannot fetch"))
    assert "No space left on device; free some space, or give --build-dir" in line


def test_a_full_disk_while_compiling(shop, small_disk):
    shop.source.commit({"provider/build.sh": "head -c 1000000 /dev/zero > $1-big"})
    shop.build_dir = small_disk
    line = shop.failure()
    assert line.startswith("builder: compile: cannot compile mock-kms-provider: ")
    assert "No space left on device; free some space, or give --build-dir" in line


def test_a_full_disk_while_publishing(shop, small_disk):
    shop.source.commit({"provider/plugin.sh": plugin("1.0", ": " + "x" * 400_000)})
    shop.output = small_disk / "mock-kms-provider"
    line = shop.failure()
    assert line.startswith("builder: publish: cannot write ")
    assert "No space left on device; free some space, or give --output" in line


def test_no_compiler(shop):
    line = shop.failure(environment={"PATH": "/nowhere"})
    assert line == ("builder: configure: cannot find a C++ compiler: PATH holds none of c++, g++ and clang++; "
                    "install g++ or clang, or set CXX to a compiler")
    assert "cannot find the compiler 'no-such-cc' that CXX names" in shop.failure(environment={"CXX": "no-such-cc"})


def test_no_cmake(shop):
    tools = shop.directory / "tools"
    tools.mkdir()
    (tools / "c++").symlink_to("/usr/bin/c++")
    line = shop.failure(environment={"PATH": str(tools)})
    assert line == "builder: configure: cannot find cmake in PATH; install cmake"


def test_a_compile_error(shop):
    shop.source.commit(cxx_project(main=CXX_MAIN.replace("std::puts(\"", "std::putz(\"")))
    done = shop.build()
    assert done.returncode == 1
    lines = done.err.splitlines()
    assert lines[-1].startswith("builder: compile: cannot compile mock-kms-provider: provider/main.cc:2:")
    assert "error: 'putz' is not a member of 'std'" in lines[-1].replace("‘", "'").replace("’", "'")
    assert any(line.startswith("FAILED: ") for line in lines[:-1])
    assert any("putz" in line and "|" in line for line in lines[:-1]), "the compiler's own lines come before"
    shop.assert_clean()


def test_the_compiler_s_words_cannot_reach_the_terminal_as_they_are(shop):
    shop.source.commit({"provider/build.sh": "printf 'error: \\033]0;mine\\007\\tx\\n'; exit 1"})
    for environment in ({}, tools_without_ninja(shop)):  # ninja takes some of it out
        done = shop.build(environment=environment)
        assert done.returncode == 1
        assert "]0;mine\\x07        x\n" in done.err and "\x1b" not in done.err and "\x07" not in done.err


@pytest.mark.parametrize("command, options, hint", [
    ("head -c 3000000 /dev/zero > big", ["--max-file", "1000000"], "the build wrote a longer file than --max-file allows"),
    ("sh -c 'kill -9 $$'", [], "the compiler had too little memory"),
    ("sh -c 'kill -XCPU $$'", [], "the build used more processor time than --build-timeout allows"),
    ("echo 'sh: 0: Cannot fork' >&2; exit 2", [], "the build started more processes than --max-processes"),
])
def test_a_limit_that_was_reached_is_named_and_not_the_source(shop, command, options, hint):
    line = shop.failure("--isolation", "on", "--build", "command", "--build-command", command, *options)
    assert f"; {hint}" in line


@pytest.mark.parametrize("letter", [";", '"', "|"])
def test_a_build_directory_whose_name_cmake_takes_apart_is_refused(shop, letter):
    shop.build_dir = shop.directory / f"a{letter}b"
    line = shop.build().err.splitlines()[-1]
    assert line.startswith("builder: configure: cannot compile in ") and line.endswith(
        f"cmake cannot work in a path with '{letter}'; give another --build-dir")


def test_a_build_directory_whose_name_go_takes_apart_is_refused(shop):
    shop.source.commit({"provider/go.mod": "module x\n", "provider/CMakeLists.txt": ""})
    shop.build_dir = shop.directory / "a:b"
    line = shop.build("--build", "go").err.splitlines()[-1]
    assert "go cannot work in a path with ':'" in line or "cannot find go" in line


def test_a_path_that_is_a_link_is_answered_with_its_target(shop):
    shop.source.commit({})
    (shop.source.path / "plugin").symlink_to("provider")
    (shop.source.path / "provider" / "more.sh").symlink_to("../shared/more.sh")
    (shop.source.path / "shared").mkdir()
    (shop.source.path / "shared" / "more.sh").write_text("true\n")
    shop.source.commit({"provider/build.sh": "set -e\n. $(dirname $0)/more.sh\n"})
    assert shop.failure("--path", "plugin") == ("builder: configure: cannot compile plugin: it is a link to provider; "
                                                "give the link's target by --path")
    assert shop.fetch_failure("--path", "plugin/plugin.sh").endswith("'plugin' is a link; give the link's target by --path")
    assert "plugin is a link to provider, which was not fetched; give it by --path too" in shop.fetched("--path", "plugin").stderr
    hint = "provider/more.sh is a link to shared/more.sh, which was not fetched: give it by --path too"
    assert shop.failure("--path", "provider").endswith(f"; {hint}")
    assert "not fetched" not in shop.fetch("--path", "provider,shared", into=shop.directory / "both").stderr


def test_a_log_file_that_cannot_be_written_is_said_once(shop):
    done = shop.built("--log-file", "/dev/full")
    assert done.err.count("cannot write the log to /dev/full: No space left on device; the log continues on stderr only") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_an_output_on_a_noexec_file_system_is_warned_about_and_compiled_once(shop):
    shop.output.parent.mkdir(exist_ok=True)
    twice = f'mount -t tmpfs -o noexec tmpfs {shop.output.parent} || exit 77; "$@" && "$@"'
    done = shop.build(wrapper=["unshare", "-m", "sh", "-c", twice, "sh"])
    if done.returncode in (1, 77) and "builder" not in done.err:
        pytest.skip("no mounts here")
    assert done.returncode == 0, done.err
    assert done.err.count("the output's file system is mounted noexec") == 2
    assert shop.compilations() == 1 and "Up to date:" in done.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_noexec_build_directory_is_named_and_not_the_source(shop):
    shop.build_dir.mkdir()
    mounted = f'mount -t tmpfs -o noexec tmpfs {shop.build_dir} || exit 77; exec "$@"'
    done = shop.build(wrapper=["unshare", "-m", "sh", "-c", mounted, "sh"])
    if "builder" not in done.err:
        pytest.skip("no mounts here")
    assert done.returncode == 1
    assert done.err.splitlines()[-1].endswith(": its file system is mounted noexec; give another --build-dir")


def test_a_full_disk_names_the_option_of_the_command(shop, small_disk):
    shop.source.commit({"provider/big": os.urandom(600_000).hex()})
    line = shop.fetch_failure(into=small_disk / "x")
    assert line.endswith("No space left on device; free some space, or give --into on a larger disk")


def test_an_error_while_linking(shop):
    shop.source.commit(cxx_project(main="int missing(); int main() { return missing(); }\n"))
    assert "undefined" in shop.failure()


def test_a_cmake_error(shop):
    shop.source.commit({"provider/CMakeLists.txt": "cmake_minimum_required(VERSION 3.22)\nproject(x NONE)\n"
                                                   "find_package(NothingLikeThis REQUIRED)\n"})
    line = shop.failure()
    assert line.startswith("builder: configure: cannot configure provider: CMake Error at provider/CMakeLists.txt:3")
    assert "NothingLikeThis" in line


def test_no_such_target(shop):
    line = shop.failure("--target", "other")
    assert line == ("builder: compile: cannot compile other: ninja: error: unknown target 'other'; "
                    "give the name of an executable's target by --target")
    line = shop.failure("--target", "other", environment=tools_without_ninja(shop))
    assert "No rule to make target 'other'" in line and line.endswith("; give the name of an executable's target by --target")


def test_a_target_without_an_executable(shop):
    shop.source.commit({"provider/build.sh": "true"})
    assert "cannot find the executable: the build left no file build/bin/mock-kms-provider" in shop.failure()


@pytest.mark.parametrize("body, cause", [
    ("echo 'no libfoo.so' >&2; exit 3", "it exited with code 3 after 'no libfoo.so'"),
    ("kill -SEGV $$", "it was killed by SIGSEGV"),
    ("exec sleep 1000", "it did not end within 300.0 ms"),
])
def test_a_binary_that_does_not_run(shop, body, cause):
    shop.built()  # the old one stays
    shop.source.commit({"provider/plugin.sh": plugin("2.0", body)})
    line = shop.failure(*(["--smoke-test-timeout", "300ms"] if "300.0 ms" in cause else []))
    assert line.startswith("builder: smoke-test: cannot run mock-kms-provider --version: " + cause)
    assert subprocess.run([shop.output, "--version"], capture_output=True, text=True).stdout == "plugin 1.0\n"


@pytest.mark.parametrize("url", ["https://bot:ab/cd@git.invalid/x.git", "https://bot:ab#cd@git.invalid/x", "ssh://bot:ab?cd@git.invalid/x",
                                 "bot:ab/cd@git.invalid:x.git", "//bot:ab/cd@git.invalid/x"])
@pytest.mark.parametrize("command", ["build", "fetch"])
def test_a_password_with_reserved_characters_is_refused_and_never_printed(shop, command, url):
    log, termination = shop.directory / "log", shop.directory / "termination"
    termination.write_text("")
    for words in (["--repo", url], [url]):
        done = subprocess.run([BUILDER, command, *words, "--log-file", log, "--termination-log", termination, "--fetch-retries", "0",
                               *(["--into", shop.directory / "o"] if command == "fetch" else [])], env=shop.environment,
                              capture_output=True, text=True)
        everything = done.stdout + done.stderr + termination.read_text() + (log.read_text() if log.exists() else "")
        assert done.returncode == 2 and "ab" not in everything.replace("available", "") and "cd" not in everything, everything
        if words[0] == "--repo":
            assert "percent-encode the password" in done.stderr and "percent-encode the password" in termination.read_text()


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_result_that_cannot_be_printed(shop, format):
    with open("/dev/full", "w") as full:
        for command in (shop.command("-o", format), [BUILDER, "fetch", "--repo", shop.source.path, "--into",
                                                     shop.directory / "fetched", "-o", format]):
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=shop.environment)
            assert done.returncode == 1
            assert done.stderr.splitlines()[-1].startswith("builder: cannot print the result: No space left on device; the ")
    assert shop.output.exists()


def test_an_output_directory_that_cannot_be_written_is_found_before_anything_is_fetched(shop):
    shop.output = shop.directory / "readonly" / "mock-kms-provider"
    shop.output.parent.mkdir()
    mounted = f'mount -t tmpfs -o ro tmpfs {shop.output.parent} || exit 77; exec "$@"'
    done = shop.build(wrapper=["unshare", "-m", "sh", "-c", mounted, "sh"])
    if "builder" not in done.err:
        pytest.skip("no mounts here")
    assert done.returncode == 1
    assert done.err.splitlines()[-1].startswith(f"builder: publish: cannot write {shop.output}: Read-only file system")
    assert done.err.endswith("; check --output\n")
    assert "phase=fetch" not in done.err and shop.compilations() == 0


@pytest.mark.parametrize("place", ["/proc/mock-kms-provider", "/sys/x/mock-kms-provider", "/proc/self/fd/1"])
def test_an_output_among_the_names_of_the_system_is_refused(shop, place):
    shop.output = pathlib.Path(place)
    done = shop.build()
    assert done.returncode == 1 and shop.compilations() == 0
    assert "it is a name of the system, not a file; give a file by --output" in done.err.splitlines()[-1]


def test_an_output_that_cannot_be_written(shop):
    (shop.directory / "file").write_text("")
    shop.output = shop.directory / "file" / "plugin"
    done = shop.build()
    assert done.returncode == 1
    assert done.err.splitlines()[-1].startswith("builder: publish: cannot make ")
    assert pathlib.Path(shop.directory / "file").read_text() == ""


def test_a_fetch_that_fails_leaves_no_directory_on_the_way(shop):
    shop.fetch_failure("--ref", "nothing", into=shop.directory / "a" / "b" / "c")
    assert not (shop.directory / "a").exists()


def test_directories_on_the_way_to_an_output_are_made_for_a_binary_alone(shop):
    shop.output = shop.directory / "a" / "b" / "mock-kms-provider"
    shop.failure("--ref", "nothing")
    assert not (shop.directory / "a").exists()
    shop.built()
    shop.failure("--ref", "nothing")
    assert shop.output.exists()
