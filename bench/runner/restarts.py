"""restarts: 16 callers measure planned restarts."""

import subprocess
import time

from runner import figures, keepers
from runner.programs import OutageClient, short_directory

ROUNDS = 10
CALLERS = 16
KINDS = [keepers.Supervisor, keepers.SupervisorWithStandby]


def _restarts(programs, kind, count):
    with short_directory() as directory, kind(programs, directory).started() as keeper:
        with OutageClient(programs, keeper.socket, CALLERS) as client:
            client.ask("mark")
            for _ in range(count):
                # One window follows the other, so that no stalled call falls between two.
                subprocess.run([programs.supervisor, "--control-socket", keeper.control, "restart"], check=True)
                time.sleep(0.2)
                yield client.ask("mark")


def measure(programs, quick, rounds):
    count = 1 if quick else 10
    events = [{"keeper": kind.name, **event} for _ in range(rounds) for kind in KINDS
              for event in _restarts(programs, kind, count)]
    return {"callers": CALLERS, "events": events}


def render(raw):
    rows = []
    for kind in KINDS:
        events = [event for event in raw["events"] if event["keeper"] == kind.name]
        rows.append([kind.name, len(events), sum(event["calls"] for event in events),
                     sum(event["failed"] for event in events), figures.spread(event["max_ms"] for event in events)])
    return figures.table(["kept by", "restarts", "calls meanwhile", "failed calls", "longest call, ms"], rows)
