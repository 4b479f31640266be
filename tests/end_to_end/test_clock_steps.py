"""A wall clock that is set in either direction delays no deadline."""

import os
import signal
import time

import pytest

from support.clock import ShiftedClock, can_preload
from support.supervised import Supervised

HOUR = 3600
QUICK = ["--probe-interval=200ms", "--probe-timeout=300ms", "--failure-threshold=2", "--hang-grace=200ms"]

pytestmark = pytest.mark.skipif(not can_preload("supervisor"), reason="a library cannot be preloaded into this build")


@pytest.mark.parametrize("handover", ["require", "off"])
@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_hung_plugin_is_replaced_in_time_whatever_the_wall_clock_does(directory, handover, step):
    clock = ShiftedClock(directory)
    with Supervised(directory, options=[*QUICK, f"--handover={handover}"], env={**os.environ, **clock.env}) as supervised:
        pid = supervised.healthy()["pid"]
        os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        time.sleep(0.25)  # so that a probe without an answer is under way when the clock is set
        clock.set(step)
        supervised.program.wait_for_line("the plugin ended pid=%d" % pid)
        assert time.monotonic() - begun < 5
        assert supervised.healthy()["pid"] != pid
