"""A wall clock that a test sets while programs run, without touching the machine's."""

import mmap
import pathlib
import struct
import subprocess

from support.processes import SANITIZED, binary

SOURCE = pathlib.Path(__file__).with_name("clock_shift.c")


class ShiftedClock:
    """Programs started with `env` see a wall clock that is off by set()'s seconds."""

    def __init__(self, directory):
        library, file = directory / "clock_shift.so", directory / "clock_shift"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
        file.write_bytes(bytes(mmap.PAGESIZE))
        with open(file, "r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), mmap.PAGESIZE)
        self.env = {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(file)}

    def set(self, seconds):
        self._page[:8] = struct.pack("=q", seconds)


def can_preload(program):
    """A sanitizer's runtime has to come first, and a static program has no loader."""
    return not SANITIZED and b"ld-linux" in pathlib.Path(binary(program)).read_bytes()
