"""`builder build` from a repository to a published binary, with real git servers."""
import hashlib
import json
import os
import pty
import re
import shutil
import socket
import stat
import subprocess

import pytest
from conftest import BUILD_SCRIPT, BUILDER, CMAKE_LISTS, CXX_CMAKE_LISTS, CXX_MAIN, cxx_project, plugin, project, tools_without_ninja
from support.git_servers import GitHttp


def info_of(workshop):
    return json.loads((workshop.output.parent / "build-info.json").read_text())


def output_of(workshop):
    return subprocess.run([workshop.output, "--version"], capture_output=True, text=True, check=True).stdout


# --- the whole pipeline ---------------------------------------------------------------------------------------------------

def test_a_compiled_binary_is_published_with_its_record(workshop):
    commit = workshop.source.commit(cxx_project())
    done = workshop.built("-o", "json")
    info = json.loads(done.out)
    assert info == info_of(workshop)
    assert info["commit"] == commit
    assert info["repository"] == str(workshop.source.path)
    assert info["ref"] == "HEAD"
    assert info["paths"] == [{"path": path, "id": workshop.source.id(f"HEAD:{path}")} for path in ("provider", "common", "proto")]
    assert "-DCMAKE_BUILD_TYPE=Release" in info["flags"]
    assert os.path.isabs(info["compiler"]["path"]) and info["compiler"]["version"]
    content = workshop.output.read_bytes()
    assert info["binary"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert info["binary"]["size"] == len(content)
    assert info["binary"]["version"] == "compiled 1.0"
    assert [phase["name"] for phase in info["phases"]] == ["fetch", "checkout", "configure", "compile", "smoke-test", "publish"]
    assert stat.S_IMODE(workshop.output.stat().st_mode) == 0o755
    for phase in ("fetch", "checkout", "configure", "compile", "smoke-test", "publish"):
        assert re.search(rf"phase done phase={phase} duration=", done.err)
    workshop.assert_clean()


def test_two_builds_in_different_directories_give_the_same_binary(workshop):
    workshop.source.commit(cxx_project())
    workshop.built("--force")
    first = workshop.output.read_bytes()
    workshop.build_dir = workshop.directory / "another" / "build-directory"
    workshop.built("--force")
    assert workshop.output.read_bytes() == first
    assert output_of(workshop).splitlines()[1].endswith("src/provider/main.cc")
    assert str(workshop.directory) not in output_of(workshop)


def test_make_is_used_where_ninja_is_missing(workshop):
    workshop.source.commit(project())
    workshop.built(environment=tools_without_ninja(workshop))
    assert "-GUnix Makefiles" in info_of(workshop)["flags"]


def test_a_directory_of_path_that_cannot_be_read_is_passed_over(workshop):
    workshop.source.commit(project())
    loop = workshop.directory / "loop"
    loop.symlink_to(loop)  # root may read any directory, but not follow this
    workshop.built(environment={"PATH": f"{loop}:{workshop.environment['PATH']}"})


@pytest.mark.parametrize("generator", ["ninja", "make"])
@pytest.mark.parametrize("name", ["with space", "it's", "a$HOME", "all of 'them' $$"])
def test_directories_may_have_names_that_a_shell_would_take_apart(workshop, name, generator):
    workshop.source.commit({f"{name}/{file}": text for file, text in
                            {"CMakeLists.txt": CXX_CMAKE_LISTS, "main.cc": CXX_MAIN}.items()})
    workshop.build_dir = workshop.directory / name
    workshop.built("--path", name, environment=tools_without_ninja(workshop) if generator == "make" else {})
    assert output_of(workshop).splitlines()[1] == f"src/{name}/main.cc"
    assert any(flag.endswith("-ffile-prefix-map=$WORK/=") for flag in info_of(workshop)["flags"])


def test_a_summary_for_people_is_printed(workshop):
    commit = workshop.source.commit(project())
    assert f"commit {commit} of {workshop.source.path} (HEAD)" in workshop.built().out


def test_the_repository_around_the_program_is_the_default(workshop):
    commit = workshop.source.commit(project())
    program = workshop.source.path / "build" / "bin" / "builder"
    program.parent.mkdir(parents=True)
    shutil.copy(BUILDER, program)
    done = subprocess.run([program, "build", "--build-dir", workshop.build_dir, "--output", workshop.output, "-o", "json"],
                          env=workshop.environment, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["commit"] == commit


def test_options_come_from_the_environment_too(workshop):
    workshop.source.commit(project())
    workshop.source.git("branch", "release")
    workshop.built(environment={"BUILDER_REF": "release"})
    assert info_of(workshop)["ref"] == "release"


def test_several_paths_stand_in_one_variable(workshop):
    workshop.source.commit(project(**{"other/x": "x"}))
    workshop.built(environment={"BUILDER_PATH": "provider,other"})
    assert [path["path"] for path in info_of(workshop)["paths"]] == ["provider", "other"]
    workshop.built("--path", "provider,other", "--path", "proto", environment={"BUILDER_PATH": "other"})
    assert [path["path"] for path in info_of(workshop)["paths"]] == ["provider", "other", "proto"]


@pytest.mark.parametrize("options, words", [
    (["--reff", "x"], "did you mean '--ref'?"),
    (["--path", "../x"], "is not a path in a repository"),
    (["--ref", "a..b"], "is not a ref name"),
    (["--define", "X"], "not NAME=VALUE"),
    (["--target", "a/b"], "--target"),
])
def test_a_wrong_option_is_a_usage_error(workshop, options, words):
    done = workshop.build(*options)
    assert done.returncode == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_a_value_that_begins_with_a_dash_stays_as_it_is(workshop):
    workshop.source.commit(project(**{"provider/plugin.sh": '#!/bin/sh\necho "asked for $1"\n', "-dash/x": "x"}))
    workshop.built("--smoke-test", "-version")
    assert info_of(workshop)["binary"]["version"] == "asked for -version"
    assert (workshop.fetched("--path", "-dash").directory / "-dash" / "x").exists()


def test_the_record_s_place_is_no_output(workshop):
    workshop.output = workshop.output.parent / "build-info.json"
    done = workshop.build()
    assert done.returncode == 2
    assert done.err == (f"builder: --output: {workshop.output} is reserved for the record of the binary; "
                        "give the binary another name\n")


@pytest.mark.parametrize("target", ["/proc/self/fd/1", "/dev/stdout"])
@pytest.mark.parametrize("links", [1, 2])
def test_a_link_to_a_name_of_the_system_is_no_output(workshop, target, links):
    workshop.source.commit(project())
    workshop.output.parent.mkdir()
    last = workshop.output if links == 1 else workshop.directory / "link"
    last.symlink_to(target)
    if links == 2:
        workshop.output.symlink_to(last)
    with open(workshop.directory / "stdout", "w") as stdout:  # a file, to which the link leads
        done = subprocess.run(workshop.command(), env=workshop.environment, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 1 and workshop.output.is_symlink()
    assert done.stderr == (f"builder: publish: cannot write {workshop.output}: it is a name of the system, not a file; "
                           "give a file by --output\n")


@pytest.mark.parametrize("option", ["--ref", "--fetch-timeout", "--commit", "--format", "--profile"])
@pytest.mark.parametrize("scheme", ["", "https://"])
def test_a_url_in_the_place_of_another_value_does_not_show_its_password(workshop, option, scheme):
    done = workshop.build(option, f"{scheme}me:s3cret@git.invalid:/x")
    assert done.returncode == 2 and "s3cret" not in done.err


@pytest.mark.parametrize("option", ["--output", "--input"])
def test_an_empty_path_is_a_usage_error(workshop, option):
    command = [BUILDER, "build", "--repo", workshop.source.path, "--build-dir", workshop.build_dir, option, ""]
    done = subprocess.run(command, env=workshop.environment, capture_output=True, text=True, cwd=workshop.directory, timeout=60)
    assert done.returncode == 2
    assert done.stderr == f"builder: {option}: the path is empty; give a path\n"


def test_a_link_to_itself_has_a_next_step(workshop):
    workshop.source.commit(project())
    (workshop.directory / "loop").symlink_to("loop")
    workshop.output = workshop.directory / "loop" / "x"
    done = workshop.build()
    assert done.returncode == 1
    assert "loop" in done.err and "Too many levels of symbolic links; check" in done.err.splitlines()[-1]


@pytest.mark.parametrize("place", ["binary", "record", "link"])
@pytest.mark.parametrize("kind", ["a FIFO", "a socket", "a device"])
def test_an_output_that_is_no_file_is_refused_before_anything_is_done(workshop, kind, place):
    if kind == "a device" and os.geteuid() != 0:
        pytest.skip("only root makes devices")
    workshop.source.commit(project())
    workshop.output.parent.mkdir()
    file = {"binary": workshop.output, "record": workshop.output.parent / "build-info.json",
            "link": workshop.directory / "elsewhere"}[place]
    if place == "link":
        workshop.output.symlink_to(file)
    if kind == "a FIFO":
        os.mkfifo(file)
    elif kind == "a socket":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(file))
    else:
        try:
            os.mknod(file, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("no devices here")
    before = file.lstat()
    done = workshop.build()
    shown = workshop.output if place == "link" else file
    assert done.returncode == 1
    assert done.err == f"builder: publish: cannot write {shown}: it is {kind}; give a file by --output\n"
    assert file.lstat().st_ino == before.st_ino and not workshop.build_dir.exists()


def test_a_url_that_is_none_is_refused_without_being_shown(workshop):
    done = workshop.build(repo="ftp://me:secret@host/x")
    assert done.returncode == 2
    assert "'ftp' is not a scheme" in done.err and "secret" not in done.err


# --- transports and refs ---------------------------------------------------------------------------------------------------

@pytest.fixture(params=["path", "file", "git", "http"])
def place(request, workshop):
    """The source repository's URL, one for each transport."""
    if request.param == "path":
        return workshop.source.path
    if request.param == "file":
        return f"file://{workshop.source.path}"
    return request.getfixturevalue(f"git_{'daemon' if request.param == 'git' else 'http'}").url("source/.git")


def test_every_kind_of_ref_is_found_over_every_transport(workshop, place):
    first = workshop.source.commit(project("1.0"))
    workshop.source.git("tag", "light")
    workshop.source.git("tag", "-a", "-m", "annotated", "annotated")
    second = workshop.source.commit({"provider/plugin.sh": plugin("2.0")})
    workshop.source.git("branch", "feature/two")
    third = workshop.source.commit({"provider/plugin.sh": plugin("3.0")})
    for ref, commit in [("light", first), ("annotated", first), ("feature/two", second), ("HEAD", third), ("main", third),
                        ("refs/tags/light", first), (third, third)]:
        workshop.built("--ref", ref, repo=place)
        assert info_of(workshop)["commit"] == commit, ref
    assert output_of(workshop) == "plugin 3.0\n"


def test_a_commit_that_no_ref_points_to_is_found_by_its_id(workshop, place):
    first = workshop.source.commit(project("1.0"))
    workshop.source.commit({"provider/plugin.sh": plugin("2.0")})
    workshop.built("--ref", first, repo=place)
    assert output_of(workshop) == "plugin 1.0\n"


def test_a_branch_goes_before_a_tag_of_its_name(workshop, place):
    workshop.source.commit(project("1.0"))
    workshop.source.git("tag", "both")
    branch = workshop.source.commit({"provider/plugin.sh": plugin("2.0")})
    workshop.source.git("branch", "both")
    workshop.built("--ref", "both", repo=place)
    assert info_of(workshop)["commit"] == branch


def test_a_password_in_the_url_is_used_and_never_shown(workshop):
    workshop.source.commit(project())
    with GitHttp(workshop.directory / "srv", users={"me": "s3cr/t"}) as server:
        done = workshop.built("-o", "json", "--log-level", "debug", repo=server.url("source/.git", "me:s3cr%2Ft"))
        for text in (done.out, done.err, json.dumps(info_of(workshop))):
            assert "s3cr" not in text and "me:" not in text and "me@" not in text
        assert info_of(workshop)["repository"] == server.url("source/.git")


def test_only_the_asked_paths_are_there_when_compiling(workshop):
    workshop.source.commit(project(**{"other/x": "x", "provider/build.sh": """set -e
        ls "$(dirname "$0")/.." > "$BUILD_LOG"
        mkdir -p "$1"; cp "$(dirname "$0")/plugin.sh" "$1/mock-kms-provider"; chmod +x "$1/mock-kms-provider"
        """}))
    workshop.built()
    assert workshop.build_log.read_text().split() == ["common", "proto", "provider"]


# --- the second run --------------------------------------------------------------------------------------------------

def test_the_second_run_compiles_nothing(workshop):
    workshop.source.commit(project())
    workshop.built()
    done = workshop.built()
    assert "up to date" in done.err and done.out.startswith("Up to date:")
    assert workshop.compilations() == 1
    workshop.built("--force")
    assert workshop.compilations() == 2


def test_a_moved_commit_with_the_same_paths_is_recorded_without_compiling(workshop):
    workshop.source.commit(project())
    workshop.built()
    moved = workshop.source.commit({"README": "x"})
    workshop.built("--ref", "main")
    assert workshop.compilations() == 1
    info = info_of(workshop)
    assert (info["commit"], info["ref"]) == (moved, "main")
    assert [phase["name"] for phase in info["phases"]][-1] == "publish"


@pytest.mark.parametrize("change", ["source", "binary", "mode", "info", "flags", "compiler"])
def test_whatever_decides_the_binary_makes_it_compiled_again(workshop, change):
    workshop.source.commit(project())
    workshop.built()
    options, environment = [], {}
    if change == "source":
        workshop.source.commit({"proto/x.proto": "changed\n"})
    elif change == "binary":
        workshop.output.write_text("damaged")
    elif change == "mode":
        workshop.output.chmod(0o644)
    elif change == "info":
        (workshop.output.parent / "build-info.json").write_text("{")
    elif change == "flags":
        options = ["--define", "X=1"]
    elif change == "compiler":
        environment = {"CXX": shutil.which("g++")}
    workshop.built(*options, environment=environment)
    assert workshop.compilations() == 2
    assert output_of(workshop) == "plugin 1.0\n"


def test_another_target_is_another_binary(workshop):
    lists = CMAKE_LISTS + "add_custom_target(other COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/other.sh ${CMAKE_BINARY_DIR}/bin)\n"
    other = BUILD_SCRIPT.replace("mock-kms-provider", "other").replace("plugin.sh", "other-plugin.sh")
    workshop.source.commit(project(**{"provider/CMakeLists.txt": lists, "provider/other.sh": other,
                                      "provider/other-plugin.sh": plugin("of the other target")}))
    workshop.built()
    assert info_of(workshop)["target"] == "mock-kms-provider"
    assert workshop.built("--target", "other").out.startswith("Published:")
    assert output_of(workshop) == "plugin of the other target\n"
    assert info_of(workshop)["target"] == "other"
    assert workshop.built("--target", "other").out.startswith("Up to date:")


def test_a_binary_that_runs_no_more_is_compiled_again(workshop):
    library = workshop.directory / "library"
    library.write_text("")
    workshop.source.commit(project(**{"provider/plugin.sh": plugin("1.0", f"test -e {library} || {{ echo no library >&2; exit 1; }}")}))
    workshop.built()
    library.unlink()
    done = workshop.build()
    assert "compiling again" in done.err and "no library" in done.err
    assert workshop.compilations() == 2


# --- progress --------------------------------------------------------------------------------------------------------

def test_a_terminal_gets_a_bar(workshop):
    workshop.source.commit(project())
    leader, follower = pty.openpty()
    process = subprocess.Popen(workshop.command(), env=workshop.environment, stderr=follower, stdout=subprocess.DEVNULL)
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 4096):
            shown += chunk
    except OSError:  # EIO: the other end is closed
        pass
    os.close(leader)
    assert process.wait(60) == 0
    assert re.search(rb"\r\x1b\[Kcompile \[=+\] \d+/\d+", shown)


def test_anything_else_gets_plain_lines(workshop):
    workshop.source.commit(project())
    assert "\x1b" not in workshop.built().err
