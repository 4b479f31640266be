"""Kills, hangs, clock steps, rotations, faults, removed sockets, log floods and builds at random: every promise holds.

A run of 20 s. KMS_SOAK_SECONDS makes it longer, KMS_SOAK_SEED repeats another one, and KMS_SOAK_REPORT names a file for
what was seen. `bench/run soak` uses them.
"""

import json
import os
import pathlib

from support.clock import ShiftedClock, can_preload
from support.soak import Soak

SECONDS = float(os.environ.get("KMS_SOAK_SECONDS", "20"))
SEED = int(os.environ.get("KMS_SOAK_SEED", "1"))


def test_no_promise_breaks_whatever_happens_to_the_programs(directory):
    clock = ShiftedClock(directory) if can_preload("supervisor") else None
    seen = Soak(directory, SEED, clock).run(SECONDS)
    report = json.dumps({"seed": SEED, "seconds": SECONDS, **seen})
    if "KMS_SOAK_REPORT" in os.environ:
        pathlib.Path(os.environ["KMS_SOAK_REPORT"]).write_text(report)
    print(report)
    assert (seen["broken"], seen["findings"], seen["exit_code"]) == ([], [], 0), report
    assert seen["calls"] > 100 and seen["kept"] > 10 and seen["restarts"] > 0 and len(seen["events"]) > 5, report
