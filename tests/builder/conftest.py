"""Fixtures of the builder's end-to-end tests: the program under test, small projects and a workshop directory."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest
from support import git_servers
from support.processes import binary

BUILDER = binary("builder")

# A project without any language configures in milliseconds: most tests are not about the compiler.
CMAKE_LISTS = """
cmake_minimum_required(VERSION 3.22)
project(plugin NONE)
add_custom_target(mock-kms-provider COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/build.sh ${CMAKE_BINARY_DIR}/bin VERBATIM)
"""
BUILD_SCRIPT = """set -e
echo built >> "$BUILD_LOG"
mkdir -p "$1"
cp "$(dirname "$0")/plugin.sh" "$1/mock-kms-provider"
chmod +x "$1/mock-kms-provider"
"""

CXX_CMAKE_LISTS = """
cmake_minimum_required(VERSION 3.22)
project(plugin CXX)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
add_executable(mock-kms-provider main.cc)
"""
CXX_MAIN = """#include <cstdio>
int main() { std::puts("compiled 1.0"); std::puts(__FILE__); }
"""


def plugin(version, more=""):
    """A program for the fast project: a shell script that answers --version."""
    return f"#!/bin/sh\n{more}\necho plugin {version}\n"


def project(version="1.0", **files):
    return {"provider/CMakeLists.txt": CMAKE_LISTS, "provider/build.sh": BUILD_SCRIPT,
            "provider/plugin.sh": plugin(version), "common/x": "x\n", "proto/x.proto": "syntax = \"proto3\";\n", **files}


def cxx_project(main=CXX_MAIN):
    return {"provider/CMakeLists.txt": CXX_CMAKE_LISTS, "provider/main.cc": main, "common/x": "x\n", "proto/x": "x\n"}


class Workshop:
    """A directory with a repository `source`, a build directory and an output directory."""

    def __init__(self, directory):
        self.directory = directory
        self.build_dir = directory / "build"
        self.output = directory / "out" / "mock-kms-provider"
        self.build_log = directory / "built"
        self.environment = {name: os.environ[name] for name in ("PATH", "ASAN_OPTIONS", "LSAN_OPTIONS")
                            if name in os.environ}
        # Most tests watch the compile from outside, and count compiles: isolation and cache have tests of their own.
        self.environment.update(HOME=str(directory), BUILDER_ENV=f"BUILD_LOG={self.build_log}", CCACHE_DISABLE="1",
                                GIT_CONFIG_NOSYSTEM="1", BUILDER_FETCH_RETRIES="0", BUILDER_ISOLATION="off",
                                BUILDER_CACHE_MAX="0")
        self.source = git_servers.Repository(directory / "srv" / "source")

    def command(self, *options, repo=None):
        return [BUILDER, "build", "--repo", str(repo or self.source.path), "--build-dir", str(self.build_dir),
                "--output", str(self.output), *options]

    def start(self, *options, repo=None, environment=None, wrapper=()):
        return subprocess.Popen([*wrapper, *self.command(*options, repo=repo)], text=True, cwd=self.directory,
                                env={**self.environment, **(environment or {})},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def build(self, *options, repo=None, environment=None, wrapper=()):
        process = self.start(*options, repo=repo, environment=environment, wrapper=wrapper)
        process.out, process.err = process.communicate(timeout=120)
        return process

    def built(self, *options, **more):
        """Builds, requires success, and returns the finished process."""
        done = self.build(*options, **more)
        assert done.returncode == 0, done.err
        return done

    def failure(self, *options, **more):
        """Builds, requires a failure with nothing left behind, and returns the last line on stderr."""
        before = self.output.read_bytes() if self.output.exists() else None
        had_directory = self.output.parent.exists()
        done = self.build(*options, **more)
        assert done.returncode == 1, f"exit code {done.returncode}: {done.err}"
        assert (self.output.read_bytes() if self.output.exists() else None) == before
        assert self.output.parent.exists() == had_directory, "an empty directory is left"
        self.assert_clean()
        return done.err.splitlines()[-1]

    def fetch(self, *options, repo=None, environment=None, into=None):
        """Runs `builder fetch`; the finished process has `.directory`, where the result is to be."""
        into = into or self.directory / "fetched"
        done = subprocess.run([BUILDER, "fetch", "--repo", str(repo or self.source.path), "--into", into, *options],
                              text=True, cwd=self.directory, env={**self.environment, **(environment or {})},
                              capture_output=True, timeout=120)
        done.directory = into
        assert not [name for name in names(into.parent) if name.endswith(".builder-new")], f"something temporary is left: {done.stderr}"
        return done

    def fetched(self, *options, **more):
        """Fetches, requires success, and returns the finished process with `.strategy`, `.bytes` and `.requests`."""
        done = self.fetch(*options, **more)
        assert done.returncode == 0, done.err if hasattr(done, "err") else done.stderr
        line = next(line for line in done.stderr.splitlines() if "builder: fetched " in line)
        done.strategy = re.search(r' strategy=(?:"([^"]*)"|(\S+))', line)
        done.strategy = done.strategy.group(1) or done.strategy.group(2)
        done.bytes, done.requests = (int(re.search(rf" {name}=(\d+)", line).group(1)) for name in ("bytes", "requests"))
        return done

    def fetch_failure(self, *options, **more):
        """Fetches, requires a failure without a result, and returns the last line on stderr."""
        done = self.fetch(*options, **more)
        assert done.returncode == 1, f"exit code {done.returncode}: {done.stderr}"
        assert not done.directory.exists()
        return done.stderr.splitlines()[-1]

    def compilations(self):
        return len(self.build_log.read_text().splitlines()) if self.build_log.exists() else 0

    def assert_clean(self):
        """Nothing temporary is left in the build directory and beside the output."""
        assert names(self.build_dir) <= {"mock-kms-build.lock", "cache"}
        assert names(self.output.parent) <= {"mock-kms-provider", "build-info.json"}


def tools_without_ninja(workshop):
    tools = workshop.directory / "tools"
    tools.mkdir()
    for name in ("cmake", "make", "c++", "sh", "cp", "mkdir", "chmod", "dirname", "uname", "as", "ld", "ar"):
        (tools / name).symlink_to(shutil.which(name))
    return {"PATH": str(tools)}


def names(directory):
    return {entry.name for entry in directory.iterdir()} if directory.exists() else set()


@pytest.fixture
def workshop():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="kms."))
    yield Workshop(directory)
    shutil.rmtree(directory)


@pytest.fixture
def git_http(workshop):
    with git_servers.GitHttp(workshop.directory / "srv") as server:
        yield server


@pytest.fixture
def git_daemon(workshop):
    with git_servers.GitDaemon(workshop.directory / "srv") as server:
        yield server
