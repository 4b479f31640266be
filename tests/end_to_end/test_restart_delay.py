"""With default options a plugin that served for a second is restarted at once, every time."""

import os
import signal
import statistics
import time

import grpc
import pytest

from proto import kms_v2_pb2 as v2
from support.kms_client import KmsClient
from support.processes import DEADLINE, SANITIZED, binary
from support.supervised import Supervised, script

KILLS = 40
APART = 1.2  # seconds


def answered(endpoint):
    """The time of an answer on a new connection."""
    with KmsClient(endpoint, timeout=DEADLINE) as client:
        client.status()
    return time.monotonic()


@pytest.mark.skipif(SANITIZED, reason="a sanitizer is slow")
def test_kills_that_are_more_than_a_second_apart_cost_milliseconds_each(directory):
    with Supervised(directory) as supervised:
        pid = supervised.healthy()["pid"]
        outages = []
        for _ in range(KILLS):
            time.sleep(APART)
            start = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            outages.append(answered(supervised.endpoint) - start)
            pid = supervised.healthy_after(pid)["pid"]
    busy = os.getloadavg()[0] > os.cpu_count()
    assert statistics.median(outages) < (0.2 if busy else 0.012), sorted(outages)
    assert max(outages) < (1 if busy else 0.06), sorted(outages)


def test_a_plugin_that_fails_at_each_start_backs_off(directory):
    with Supervised(directory, script(directory, "raise SystemExit(1)"), ["--backoff-max=400ms"]) as supervised:
        supervised.program.wait_for_line("start=6")
        waits = [line for line in supervised.program.stderr if "the plugin ended" in line]
        assert 'next="restart at once"' in waits[0]
        assert all('next="restart in' in line for line in waits[1:5])
