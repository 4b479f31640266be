"""Build systems besides CMake, profiles, and dependencies: the directories that a source needs outside the requested paths."""
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import time
import zipfile

import pytest
from conftest import BUILDER, CMAKE_LISTS, project
from test_build import info_of, output_of

MOCK = "staging/src/k8s.io/kms/internal/plugins/_mock"

# A plugin in the upstream layout: a module that replaces the one around it, four directories up.
UPSTREAM = {
    f"{MOCK}/go.mod": """module k8s.io/kms/plugins/mock

go 1.19

require k8s.io/kms v0.0.0-00010101000000-000000000000

replace k8s.io/kms => ../../../../kms
""",
    f"{MOCK}/plugin.go": """package main

import (
	"os"

	"k8s.io/kms/pkg/service"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		os.Stdout.WriteString(service.Name() + "\\n")
		return
	}
	os.Exit(2)
}
""",
    "staging/src/k8s.io/kms/go.mod": "module k8s.io/kms\n\ngo 1.19\n",
    "staging/src/k8s.io/kms/pkg/service/service.go": 'package service\n\nfunc Name() string { return "upstream 1.0" }\n',
    "staging/src/k8s.io/other/other.go": "package other\n",
    "README": "not needed\n",
}

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")


@pytest.fixture
def shop(workshop):
    """A workshop as a user has it: isolated, with a cache."""
    for name in ("BUILDER_ISOLATION", "BUILDER_CACHE_MAX", "BUILDER_ENV"):
        del workshop.environment[name]
    return workshop


# --- Go --------------------------------------------------------------------------------------------------------------

@needs_go
def test_the_upstream_layout_builds_from_the_plugin_s_path_alone_and_alike_in_any_directory(shop, git_http):
    shop.source.commit(UPSTREAM)
    done = shop.built("--path", MOCK, repo=git_http.url("source/.git"))
    assert output_of(shop) == "upstream 1.0\n"
    info = info_of(shop)
    assert [path["path"] for path in info["paths"]] == [MOCK, "staging/src/k8s.io/kms"]
    assert info["buildSystem"] == "go" and info["compiler"]["version"].startswith("go version go")
    assert f"path=staging/src/k8s.io/kms why=\"{MOCK}/go.mod says replace ... => ../../../../kms\"" in done.err
    first = shop.output.read_bytes()
    assert str(shop.directory).encode() not in first
    shutil.rmtree(shop.output.parent)
    assert shop.built("--path", MOCK, repo=git_http.url("source/.git")).out.startswith("From the cache:")
    shop.build_dir = shop.directory / "another" / "place"
    shop.built("--path", MOCK, "--force")
    assert shop.output.read_bytes() == first


@needs_go
def test_the_openshift_profile_builds_the_upstream_layout_and_makes_its_configuration(shop):
    """Its plugin has no --version: --help has to do. The modules come from nowhere, since none is needed."""
    shop.source.commit({**UPSTREAM, f"{MOCK}/plugin.go": UPSTREAM[f"{MOCK}/plugin.go"].replace("--version", "--help")})
    out = shop.directory / "plugin"
    done = subprocess.run([BUILDER, "build", "--profile", "openshift", "--repo", shop.source.path, "--build-dir", shop.build_dir,
                           "--output", f"{out}/"], env=shop.environment, cwd=shop.directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "phase done phase=modules" in done.stderr
    configuration = out / "softhsm-config.json"
    assert json.loads(configuration.read_text()).keys() == {"path", "tokenLabel", "pin"}
    assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
    assert (out / "mock-kms-plugin").exists()
    assert "CGO_ENABLED=1" in json.loads((out / "build-info.json").read_text())["flags"]
    configuration.write_text('{"pin": "my own"}')
    subprocess.run([BUILDER, "build", "--profile", "openshift", "--repo", shop.source.path, "--build-dir", shop.build_dir,
                    "--output", f"{out}/"], env=shop.environment, cwd=shop.directory, capture_output=True, check=True)
    assert configuration.read_text() == '{"pin": "my own"}'


@needs_go
def test_modules_are_downloaded_by_a_step_of_its_own_and_compiled_without_network(shop):
    """GOPROXY may be a directory: the same code path as a server, without one."""
    proxy = shop.directory / "proxy" / "example.org" / "dep" / "@v"
    proxy.mkdir(parents=True)
    (proxy / "list").write_text("v1.0.0\n")
    (proxy / "v1.0.0.info").write_text('{"Version": "v1.0.0", "Time": "2026-01-01T00:00:00Z"}')
    (proxy / "v1.0.0.mod").write_text("module example.org/dep\n")
    with zipfile.ZipFile(proxy / "v1.0.0.zip", "w") as archive:
        archive.writestr("example.org/dep@v1.0.0/go.mod", "module example.org/dep\n")
        archive.writestr("example.org/dep@v1.0.0/dep.go", 'package dep\n\nfunc Name() string { return "with module" }\n')
    shop.source.commit({
        "plugin/go.mod": "module example.org/p\n\ngo 1.19\n\nrequire example.org/dep v1.0.0\n",
        "plugin/main.go": 'package main\n\nimport "example.org/dep"\n\nfunc main() { println(dep.Name()) }\n'})
    options = ["--path", "plugin", "--env", f"GOPROXY=file://{shop.directory}/proxy", "--env", "GOSUMDB=off", "--input",
               str(shop.directory / "proxy")]
    shop.built(*options, "--modules", "download")
    assert subprocess.run([shop.output], capture_output=True, text=True).stderr == "with module\n"
    assert "modules" in [phase["name"] for phase in info_of(shop)["phases"]]
    line = shop.failure("--path", "plugin", "--force")
    assert "--modules download" in line and "main.go:3:8" in line


VENDORED = {
    "plugin/go.mod": "module example.org/p\n\ngo 1.19\n\nrequire example.org/dep v1.0.0\n",
    "plugin/main.go": 'package main\n\nimport "example.org/dep"\n\nfunc main() { println(dep.Name()) }\n',
    "plugin/vendor/modules.txt": "# example.org/dep v1.0.0\n## explicit\nexample.org/dep\n",
    "plugin/vendor/example.org/dep/dep.go": 'package dep\n\nfunc Name() string { return "vendored" }\n'}


@needs_go
@pytest.mark.parametrize("modules", ["off", "download"])
def test_vendored_modules_are_compiled_and_never_replaced_by_a_download(shop, modules):
    shop.source.commit(VENDORED)
    shop.built("--path", "plugin", "--modules", modules)
    assert subprocess.run([shop.output], capture_output=True, text=True).stderr == "vendored\n"
    assert "modules" not in [phase["name"] for phase in info_of(shop)["phases"]]


@needs_go
def test_a_workspace_above_the_module_is_used_where_it_is_asked_for(shop):
    shop.source.commit({
        "go.work": "go 1.19\n\nuse (\n\t./plugin\n\t./lib\n)\n",
        "plugin/go.mod": "module example.org/p\n\ngo 1.19\n",
        "plugin/main.go": 'package main\n\nimport "example.org/lib"\n\nfunc main() { println(lib.Name()) }\n',
        "lib/go.mod": "module example.org/lib\n\ngo 1.19\n",
        "lib/lib.go": 'package lib\n\nfunc Name() string { return "of the workspace" }\n'})
    shop.built("--path", "plugin,go.work")
    assert subprocess.run([shop.output], capture_output=True, text=True).stderr == "of the workspace\n"
    assert [path["path"] for path in info_of(shop)["paths"]] == ["plugin", "go.work", "lib"]
    assert shop.failure("--path", "plugin").startswith("builder: compile: cannot compile mock-kms-provider: ")


@needs_go
def test_a_workspace_around_the_build_directory_is_not_used(shop):
    shop.source.commit({"plugin/go.mod": "module example.org/p\n\ngo 1.19\n", "plugin/main.go": "package main\n\nfunc main() {}\n"})
    (shop.directory / "go.work").write_text("go 1.19\n\nuse ./nothing\n")
    shop.built("--path", "plugin", "--isolation", "off")


@needs_go
def test_a_go_whose_parts_are_linked_from_elsewhere_is_shown_to_the_isolated_compiler_whole(shop):
    """As distributions lay it out, outside of the system's directories: lib/go-X/src is a link to share/go-X/src."""
    shop.source.commit({"plugin/go.mod": "module example.org/p\n\ngo 1.19\n", "plugin/main.go": "package main\n\nimport _ \"strings\"\n\nfunc main() {}\n"})
    root = pathlib.Path(subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
    lib, share = shop.directory / "opt" / "lib" / "go-x", shop.directory / "opt" / "share" / "go-x"
    lib.mkdir(parents=True)
    share.mkdir(parents=True)
    shutil.copytree(root / "bin", lib / "bin")
    (lib / "pkg").symlink_to((root / "pkg").resolve())
    shutil.copytree(root / "src", share / "src", ignore=shutil.ignore_patterns("cmd", "testdata", "*_test.go"))
    (lib / "src").symlink_to("../../share/go-x/src")
    (shop.directory / "bin").mkdir()
    (shop.directory / "bin" / "go").symlink_to("../opt/lib/go-x/bin/go")
    shop.directory.chmod(0o755)
    done = shop.built("--path", "plugin", environment={"PATH": f"{shop.directory}/bin:{os.environ['PATH']}"})
    if "files" not in re.search(r"measures=(\S*)", done.err).group(1).split(","):
        pytest.skip("files cannot be hidden here")
    assert info_of(shop)["compiler"]["path"] == f"{shop.directory}/bin/go"


# --- make and commands -----------------------------------------------------------------------------------------------

MAKEFILE = """plugin: main.c
\t$(CC) $(CFLAGS) -DTEXT='"$(TEXT)"' -o $@ $<
"""
C_MAIN = '#include <stdio.h>\nint main(void) { puts(TEXT " " __FILE__ " " __DATE__); }\n'


def test_make_builds_a_target_in_the_source_directory(shop):
    shop.source.commit({"src/Makefile": MAKEFILE, "src/main.c": C_MAIN})
    shop.built("--path", "src", "--target", "plugin", "--flag", "TEXT=from make")
    assert output_of(shop) == "from make main.c Jan  1 1980\n"
    assert info_of(shop)["buildSystem"] == "make"
    assert info_of(shop)["flags"] == ["TEXT=from make"]


def test_a_command_leaves_the_executable_where_OUTPUT_says(shop):
    shop.source.commit({"src/main.c": C_MAIN, "src/more.txt": "x"})
    command = """cc $CFLAGS -DTEXT="\\"$NAME\\"" -o "$OUTPUT" main.c"""
    shop.built("--path", "src", "--build", "command", "--build-command", command, "--env", "NAME=from a command")
    assert output_of(shop) == "from a command main.c Jan  1 1980\n"
    assert info_of(shop)["flags"] == [command, "NAME=from a command"]


@pytest.mark.parametrize("options, words", [
    (["--build", "command"], "need each other; give both, such as --build command --build-command "),
    (["--build-command", "true"], "need each other; give both"),
    (["--require-isolation", "--isolation", "off"], "contradicts --isolation off; leave one of them out"),
    (["--target", "a/b"], "--target: a name holds a slash or a control character; give the name of the executable"),
    (["--max-files", "0"], "--max-files: '0' is too small; the minimum is 1 (see"),
    (["--max-bytes", "00"], "is too small; the minimum is 1 (see"),
    (["--define", "=x"], "--define: '=x' is not NAME=VALUE; write it as CMAKE_BUILD_TYPE=Debug"),
    (["--build", "bazel"], "bazel"),
    (["--env", "X"], "--env: 'X' is not NAME=VALUE; write it as CFLAGS=-O1, or as CFLAGS= for an empty value"),
    (["--dependencies", "maybe"], "maybe"),
    (["--profile", "other"], "other"),
])
def test_a_recipe_that_cannot_be_is_a_usage_error(shop, options, words):
    done = shop.build(*options)
    assert done.returncode == 2 and words in done.err


# --- the same binary again -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("isolation", ["on", "off"])
def test_the_same_source_gives_the_same_binary_at_another_time_and_place(shop, isolation):
    """__DATE__, __TIME__, __FILE__, debug information with the directory, and an assert's path."""
    lists = "cmake_minimum_required(VERSION 3.22)\nproject(plugin C CXX)\nset(CMAKE_BUILD_RPATH_USE_ORIGIN ON)\nadd_library(part STATIC part.cc)\n" \
            "add_executable(mock-kms-provider main.cc)\ntarget_link_libraries(mock-kms-provider part)\n"
    part = '#include <cassert>\n#include <cstdio>\nvoid part(int n) { assert(n > 0); std::puts(__FILE__ " " __DATE__ " " __TIME__); }\n'
    shop.source.commit({"provider/CMakeLists.txt": lists, "provider/main.cc": "void part(int);\nint main(int n, char**) { part(n); }\n",
                        "provider/part.cc": part, "common/x": "x", "proto/x": "x"})
    options = ["--force", "--isolation", isolation, "--define", "CMAKE_BUILD_TYPE=Debug"]
    shop.built(*options)
    first = shop.output.read_bytes()
    shop.build_dir = shop.directory / "a much longer name of" / "another directory"
    shop.source.commit({"README": "another commit, a second later or more"})
    shop.built(*options)
    assert shop.output.read_bytes() == first
    assert output_of(shop) == "src/provider/part.cc Jan  1 1980 00:00:00\n"
    assert str(shop.directory).encode() not in first


def test_isolated_or_not_the_binary_is_the_same(shop):
    shop.source.commit({"provider/CMakeLists.txt": "cmake_minimum_required(VERSION 3.22)\nproject(plugin CXX)\nadd_executable(mock-kms-provider main.cc)\n",
                        "provider/main.cc": "#include <cstdio>\nint main() { std::puts(__FILE__); }\n", "common/x": "x", "proto/x": "x"})
    binaries = set()
    for isolation in ("on", "off"):
        shop.built("--force", "--isolation", isolation)
        binaries.add(shop.output.read_bytes())
    assert len(binaries) == 1


# --- dependencies -----------------------------------------------------------------------------------------------------

NEEDY = {**project(),
         "provider/CMakeLists.txt": CMAKE_LISTS + "add_subdirectory(../proto proto)\ninclude(${CMAKE_CURRENT_SOURCE_DIR}/../cmake/a.cmake)\n",
         "proto/CMakeLists.txt": "add_subdirectory(${PROJECT_SOURCE_DIR}/../deep/er deep)\n",
         "deep/er/CMakeLists.txt": "", "deep/not": "x", "cmake/a.cmake": "include(${CMAKE_CURRENT_LIST_DIR}/b.cmake)\n",
         "cmake/b.cmake": "", "cmake/c.cmake": ""}


@pytest.fixture
def needy(workshop):
    workshop.source.commit(NEEDY)
    return workshop


@pytest.mark.parametrize("place", ["local", "http", "git"])
def test_what_cmake_lists_name_is_fetched_until_nothing_is_missing(needy, place, request):
    repo = needy.source.path if place == "local" else \
        request.getfixturevalue("git_http" if place == "http" else "git_daemon").url("source/.git")
    needy.built("--path", "provider", repo=repo)
    assert {path["path"] for path in info_of(needy)["paths"]} == {"provider", "proto", "cmake/a.cmake", "deep/er", "cmake/b.cmake"}
    assert output_of(needy) == "plugin 1.0\n"


def test_what_is_missing_is_refused_with_the_list(needy):
    line = needy.failure("--path", "provider", "--dependencies", "refuse")
    assert line == ("builder: dependencies: cannot compile without proto (provider/CMakeLists.txt says add_subdirectory(proto)), "
                    "cmake/a.cmake (provider/CMakeLists.txt says include(cmake/a.cmake)), "
                    "deep/er (proto/CMakeLists.txt says add_subdirectory(deep/er)), "
                    "cmake/b.cmake (cmake/a.cmake says include(cmake/b.cmake)); give these by --path too, or --dependencies fetch")
    assert needy.compilations() == 0
    needy.built("--path", "provider,proto,cmake,deep", "--dependencies", "refuse")


def test_with_dependencies_off_the_compiler_reports_what_is_missing(needy):
    assert needy.failure("--path", "provider", "--dependencies", "off").startswith("builder: configure: ")


def test_what_the_commit_does_not_hold_is_left_to_cmake(workshop):
    """It may stand behind a condition."""
    lists = CMAKE_LISTS + "if(FALSE)\n  add_subdirectory(../none none)\nendif()\ninclude(../none.cmake OPTIONAL)\n"
    workshop.source.commit(project(**{"provider/CMakeLists.txt": lists}))
    done = workshop.built("--path", "provider")
    assert "the source names what the commit does not hold" in done.err
    assert [path["path"] for path in info_of(workshop)["paths"]] == ["provider"]


@needs_go
def test_a_replacement_outside_of_the_repository_is_refused(shop):
    shop.source.commit({"plugin/go.mod": "module p\n\nreplace x => ../../x\n", "plugin/main.go": "package main\nfunc main() {}\n"})
    assert shop.failure("--path", "plugin") == (
        "builder: dependencies: cannot compile plugin: plugin/go.mod says 'replace ... => ../../x', which leads out of the repository; "
        "give another --ref, or --dependencies off")


@needs_go
def test_a_vendored_module_needs_no_replacement(shop):
    vendored = {**VENDORED, "plugin/go.mod": VENDORED["plugin/go.mod"] + "\nreplace example.org/dep => ../../outside\n",
                "plugin/vendor/modules.txt": "# example.org/dep v1.0.0 => ../../outside\n## explicit\nexample.org/dep\n"
                                             "# example.org/dep => ../../outside\n"}
    shop.source.commit(vendored)
    for mode in ("fetch", "refuse"):
        shop.built("--path", "plugin", "--dependencies", mode, "--force")
        assert subprocess.run([shop.output], capture_output=True, text=True).stderr == "vendored\n"


@needs_go
def test_the_words_of_go_itself_are_the_cause(shop):
    shop.source.commit({**VENDORED, "plugin/vendor/modules.txt": "# example.org/other v1.0.0\n## explicit\nexample.org/other\n"})
    line = shop.failure("--path", "plugin")
    assert "cannot compile mock-kms-provider: go: inconsistent vendoring in " in line and "example.org/dep@v1.0.0" in line
    assert line.endswith("; run `go mod vendor` in the source and commit vendor/, or give another --ref")


@needs_go
def test_a_download_without_a_network_does_not_blame_the_source(shop):
    shop.source.commit({name: text for name, text in VENDORED.items() if "vendor" not in name})
    line = shop.failure("--path", "plugin", "--modules", "download", "--env", "GOPROXY=http://127.0.0.1:1", "--env", "GOSUMDB=off")
    assert line.startswith("builder: modules: cannot download the modules of plugin: go: example.org/dep@v1.0.0: ")
    assert line.endswith("; check the network, and the module proxy: name another one by --env GOPROXY=URL")


@needs_go
def test_a_workspace_s_modules_are_needed(shop):
    shop.source.commit({"plugin/go.mod": "module example.org/p\n", "plugin/go.work": "go 1.19\n\nuse (\n\t.\n\t../lib\n)\n",
                        "lib/go.mod": "module example.org/lib\n\nreplace example.org/more => ../more\n", "more/go.mod": "module example.org/more\n"})
    line = shop.failure("--path", "plugin", "--dependencies", "refuse")
    assert "lib (plugin/go.work says use ../lib)" in line and "more (lib/go.mod says replace ... => ../more)" in line


# --- where the words go ----------------------------------------------------------------------------------------------

def test_the_cause_goes_to_the_termination_log_and_everything_to_the_log_file(workshop):
    workshop.source.commit(project(**{"provider/build.sh": "echo words of the compiler; exit 3\n"}))
    message = workshop.directory / "termination-log"
    message.write_text("")
    log = workshop.directory / "log"
    line = workshop.failure("--termination-log", str(message), "--log-file", str(log), "--log-level", "error")
    assert message.read_text() == line + "\n"
    assert line.startswith("builder: compile: ")
    text = log.read_text()
    assert "words of the compiler" in text and "fetching repository=" in text
    assert text.endswith(line + "\n")


@pytest.mark.parametrize("noise", [
    "for i in $(seq 40); do printf '%0300d: error: bad\\n' $i; done",
    "for i in $(seq 400); do printf '\\033[31merror: \\377\\376 bad %s\\033[0m\\n' $i; done",
    "head -c 100000 /dev/zero | tr '\\0' 'e' >&2"], ids=["long lines", "colours and no UTF-8", "one endless line"])
def test_a_termination_message_is_short_and_clean_whatever_the_compiler_prints(workshop, noise):
    workshop.source.commit(project(**{"provider/build.sh": f"{noise} >&2; exit 3\n"}))
    message = workshop.directory / "termination-log"
    message.write_text("")
    line = workshop.failure("--termination-log", str(message))
    kept = message.read_bytes()
    assert 0 < len(kept) <= 4096 and b"\033" not in kept
    assert line.startswith("builder: compile: ") and kept.decode().startswith("builder: compile: ")


@pytest.mark.parametrize("option, content, words", [
    ("--password-file", None, "cannot read given: No such file or directory; check --password-file"),
    ("--password-file", "\n", "cannot use given: its first line is empty; write the password or the token into its first line"),
    ("--allowed-signers", None, "cannot read given: No such file or directory; check --allowed-signers"),
    ("--allowed-signers", "me nonsense\n", "cannot read line 1 of given"),
    ("--ca-file", None, "cannot read given: No such file or directory; check --ca-file"),
    ("--ssh-key", None, "cannot read given"), ("--known-hosts", None, "cannot read given"),
    ("--commit", "main", "--commit: 'given' is not a commit id")])
@pytest.mark.parametrize("command", ["build", "fetch"])
def test_a_file_that_is_wrong_is_named_in_the_termination_log_too(workshop, command, option, content, words):
    workshop.source.commit(project())
    message = workshop.directory / "termination-log"
    message.write_text("")
    if content:
        (workshop.directory / "given").write_text(content)
    done = (workshop.fetch if command == "fetch" else workshop.build)("--termination-log", str(message), option, "given")
    last = (done.stderr if command == "fetch" else done.err).splitlines()[-1]
    assert done.returncode == 2
    assert last.startswith(f"builder: {words}"), last
    assert message.read_text() == last + "\n"


FILE_OPTIONS = ["--password-file", "--allowed-signers", "--ssh-key", "--known-hosts", "--ca-file"]
ONCE = FILE_OPTIONS[:2]  # these take a FIFO


@pytest.mark.parametrize("kind", ["a device", "a FIFO", "a sparse file", "an endless FIFO"])
@pytest.mark.parametrize("option", FILE_OPTIONS)
def test_no_file_of_an_option_makes_the_builder_hang(workshop, option, kind):
    workshop.source.commit(project())
    file = workshop.directory / "given"
    if "FIFO" in kind:
        os.mkfifo(file)
    elif kind == "a device":
        file.symlink_to("/dev/zero")
    else:
        file.touch()
        os.truncate(file, 20 * 1024**3)
    endless = ["sh", "-c", "while :; do printf %01000d 7; done > given"] if kind == "an endless FIFO" else ["true"]
    with subprocess.Popen(endless, cwd=workshop.directory) as writer:
        begun = time.monotonic()
        done = workshop.fetch(option, "given")
        took = time.monotonic() - begun
        writer.kill()
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and took < 15, line
    if option not in ONCE:
        cause = "cannot use given: it is longer than 16 MiB" if kind == "a sparse file" else "cannot read given: it is not a regular file"
    elif kind == "a FIFO":
        cause = f"cannot read given: nobody writes to it; check {option}"
    elif option == "--password-file":
        cause = "cannot use given: its first line is longer than 64 KiB; write only the password or the token into it"
    else:
        cause = "cannot use given: it is longer than 1 MiB; give --allowed-signers a file with the signers of this repository alone"
    assert line.startswith("builder: " + cause), line


def test_a_password_needs_no_more_than_its_line(workshop):
    workshop.source.commit(project())
    fifo = workshop.directory / "given"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", "exec 9> given; sleep 1; echo secret >&9; exec sleep 60"], cwd=workshop.directory) as writer:
        begun = time.monotonic()
        done = workshop.fetch("--password-file", "given")
        took = time.monotonic() - begun
        writer.kill()
    assert done.returncode == 0 and took < 15, done.stderr


@pytest.mark.parametrize("words", [["--no-such-option"], ["--fetch-deadline", "soon"], ["--log-format", "yaml"]])
@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize("command", ["build", "fetch"])
def test_so_is_an_option_that_is_wrong(workshop, command, by_variable, words):
    message = workshop.directory / "termination-log"
    message.write_text("")
    variables = {"BUILDER_TERMINATION_LOG": str(message)} if by_variable else {}
    words = words if by_variable else ["--termination-log", str(message), *words]
    done = (workshop.fetch if command == "fetch" else workshop.build)(*words, environment=variables)
    lines = (done.stderr if command == "fetch" else done.err).splitlines()
    assert done.returncode == 2
    assert [line + "\n" for line in lines] == [message.read_text()] and words[-1].strip("-") in lines[0]


def test_no_termination_log_is_made_where_there_is_none(workshop):
    workshop.source.commit(project(**{"provider/build.sh": "exit 3\n"}))
    workshop.failure("--termination-log", str(workshop.directory / "none"))
    assert not (workshop.directory / "none").exists()


def test_a_log_file_that_cannot_be_written_is_a_usage_error(workshop):
    done = workshop.build("--log-file", str(workshop.directory / "none" / "log"))
    assert done.returncode == 2 and "--log-file" in done.err


def test_a_fetch_leaves_its_words_there_too(workshop):
    workshop.source.commit(project())
    message = workshop.directory / "termination-log"
    message.write_text("")
    line = workshop.fetch_failure("--path", "none", "--termination-log", str(message))
    assert message.read_text() == line + "\n"
