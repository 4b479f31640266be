"""`supervisor status --follow` on a terminal, read from the other end of a pseudo-terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from support.processes import DEADLINE, binary
from support.supervised import Supervised

ROWS, COLUMNS = 8, 60
DRAWN_OVER = re.compile(rb"\x1b\[(\d+)A\x1b\[J")
COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


def read_until(terminal, text, enough):
    until = time.monotonic() + DEADLINE
    while not enough(text):
        assert time.monotonic() < until, text
        if select.select([terminal], [], [], 0.2)[0]:
            text += os.read(terminal, 65536)
    return text


def test_the_status_is_drawn_over_itself_within_the_terminal_in_colours_and_follows_what_happens(directory):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        status = subprocess.Popen([binary("supervisor"), f"--control-socket={supervised.control}", "status", "--follow"],
                                  stdout=theirs, env={**environment, "TERM": "xterm"})
        try:
            text = read_until(ours, b"", lambda seen: len(DRAWN_OVER.findall(seen)) > 1)
            os.kill(pid, signal.SIGKILL)
            supervised.healthy_after(pid)
            text = read_until(ours, text, lambda seen: b"1 restart" in seen.rsplit(b"\x1b[J", 1)[-1])
        finally:
            status.send_signal(signal.SIGINT)
            status.wait(DEADLINE)
            os.close(theirs)
            os.close(ours)
    assert status.returncode == -signal.SIGINT
    screens = re.split(rb"\x1b\[\d+A\x1b\[J", text)[:-1]  # the last one may be half of one
    assert screens[0].split(b",")[0].endswith(b"healthy\x1b[0m") or b"healthy" in screens[0].splitlines()[0]
    assert COLOUR.search(screens[0])
    for screen, (rows,) in zip(screens, ((int(n),) for n in DRAWN_OVER.findall(text))):
        lines = screen.replace(b"\r\n", b"\n").split(b"\n")[:-1]
        assert len(lines) == rows < ROWS
        for line in lines:
            assert len(COLOUR.sub(b"", line).decode()) <= COLUMNS
            colours = COLOUR.findall(line)
            assert not colours or colours[-1] == b"\x1b[0m"  # no colour goes on into the next line
