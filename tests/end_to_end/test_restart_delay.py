"""With default options a plugin that served for a second is restarted at once, every time."""

import os
import signal
import time

import pytest

from support.processes import SANITIZED
from support.supervised import Supervised, script

KILLS = 8
APART = 1.2  # seconds; a life of one second is a stable one


@pytest.mark.skipif(SANITIZED, reason="a sanitizer is slow")
def test_a_plugin_that_is_killed_after_a_second_is_restarted_at_once_every_time(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        for _ in range(KILLS):
            time.sleep(APART)
            os.kill(pid, signal.SIGKILL)
            assert 'next="restart at once"' in supervised.program.wait_for_line(f"the plugin ended pid={pid} ")
            pid = supervised.healthy_after(pid)["pid"]


def test_a_plugin_that_fails_at_each_start_backs_off(directory):
    with Supervised(directory, script(directory, "raise SystemExit(1)"), ["--backoff-max=400ms"]) as supervised:
        supervised.program.wait_for_line("start=6")
        waits = [line for line in supervised.program.stderr if "the plugin ended" in line]
        assert 'next="restart at once"' in waits[0]
        assert all('next="restart in' in line for line in waits[1:5])
