"""The key that softhsm-token makes from the seed, with a softhsm2-util that reads keys as SoftHSM's does: as a line of C text."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
UTIL = """#!/usr/bin/python3
import os, sys
if sys.argv[1] == "--import":
    line = open(sys.argv[2], "rb").readline().split(b"\\0")[0]
    open(os.environ["IMPORTED"], "wb").write(line)
"""
PUBLISHED = "06ac22969da6cd3a81bd83391dcb012ca5c1002068972c199d1a3d29418afec5"  # has a NUL
SEEDS = [PUBLISHED, "00" * 32, "0a" * 32, "ff" * 32, *(f"{number:064x}" for number in range(12))]


@pytest.fixture
def make(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/softhsm2-util").write_text(UTIL)
    (tmp_path / "bin/softhsm2-util").chmod(0o755)
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    (tmp_path / "config.json").write_text('{"path": "/lib.so", "tokenLabel": "kms-test", "pin": "1234"}')
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "IMPORTED": str(tmp_path / "key"),
                   "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}

    def run(seed):
        (tmp_path / "seed").write_bytes(seed)
        result = subprocess.run([ROOT / "manifests/image/softhsm-token", tmp_path / "config.json", tmp_path / "seed"],
                                env=environment, capture_output=True, text=True)
        assert not list((tmp_path / "tokens").iterdir())
        return (tmp_path / "key").read_bytes() if result.returncode == 0 else result.stderr

    return run


def test_every_seed_becomes_a_key_of_its_own_that_is_read_whole(make):
    keys = [make(seed.encode()) for seed in SEEDS]
    assert {len(key) for key in keys} == {32}
    assert len(set(keys)) == len(set(SEEDS))


def test_both_forms_of_a_seed_make_the_same_key_each_time(make):
    assert make(PUBLISHED.encode()) == make(f"{PUBLISHED}\n".encode()) == make(bytes.fromhex(PUBLISHED))


@pytest.mark.parametrize("seed", [b"", b"\n", b"short", b"0" * 63])
def test_a_seed_of_another_length_is_refused(make, seed):
    assert "holds neither 64 hexadecimal digits nor 32 bytes" in make(seed)
