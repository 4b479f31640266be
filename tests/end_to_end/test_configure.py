"""`cmake` on this checkout: which compilers and values of KMS_STATIC it accepts, and the version of the programs. Nothing is compiled."""

import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def configure(build, *arguments, source=ROOT):
    done = subprocess.run(["cmake", "-S", source, "-B", build, "-G", "Ninja", *arguments], capture_output=True, text=True)
    done.words = " ".join(done.stderr.split())  # CMake wraps a long message
    return done


@pytest.mark.parametrize("source", [ROOT, ROOT / "provider"], ids=["all", "provider"])
@pytest.mark.parametrize("compiler,options,named", [
    ("g++", "-U__GNUC__ -D__GNUC__=11", "GNU 11."),
    pytest.param("clang++", "-U__clang_major__ -D__clang_major__=13", "Clang 13.",
                 marks=pytest.mark.skipif(shutil.which("clang++") is None, reason="clang is not installed")),
])
def test_an_old_compiler_is_refused(tmp_path, source, compiler, options, named):
    (tmp_path / "compiler").write_text(f'#!/bin/sh\nexec {compiler} {options} "$@"\n')
    (tmp_path / "compiler").chmod(0o755)
    done = configure(tmp_path / "build", "-D", f"CMAKE_CXX_COMPILER={tmp_path}/compiler", source=source)
    assert done.returncode == 1
    assert named in done.words and "is too old; install GCC 12, clang 14 or newer, and name it by CXX" in done.words


@pytest.mark.parametrize("value,archive", [("off", False), ("YES", True), ("auto", True)])
def test_KMS_STATIC_takes_any_case_and_the_usual_booleans(tmp_path, value, archive):
    done = configure(tmp_path, "-D", f"KMS_STATIC={value}")
    assert done.returncode == 0, done.stderr
    assert ("libgrpc++_unsecure.a" in (tmp_path / "build.ninja").read_text()) == archive


def test_another_value_of_KMS_STATIC_is_refused(tmp_path):
    done = configure(tmp_path, "-D", "KMS_STATIC=maybe")
    assert done.returncode == 1 and "KMS_STATIC is 'maybe'; set it to AUTO, ON or OFF" in done.words


@pytest.mark.parametrize("checkout,kind", [(True, "Release"), (False, "")])
def test_the_version_shows_the_commit_of_a_checkout_and_a_build_type_that_is_set(tmp_path, checkout, kind):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
    commit = subprocess.run(["git", "-C", clone, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    if not checkout:
        shutil.rmtree(clone / ".git")
    done = configure(tmp_path / "build", "-D", f"CMAKE_BUILD_TYPE={kind}", source=clone)
    assert done.returncode == 0, done.stderr
    words = ", ".join(([f"commit {commit}"] if checkout else []) + ([kind] if kind else []))
    version = re.search(r'"(.*)"', (tmp_path / "build/common/cli/version.cc").read_text())[1]
    assert re.fullmatch(r"\d+\.\d+\.\d+" + re.escape(f" ({words})" if words else ""), version)
