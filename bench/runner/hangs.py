"""hangs: how long a plugin that was stopped by SIGSTOP keeps a client waiting. The other keepers never notice."""

import signal
import time

from runner import figures, keepers
from runner.programs import OutageClient, short_directory

ROUNDS = 10
KINDS = [keepers.Supervisor, keepers.SupervisorWithStandby, keepers.ClassicSupervisor]


def _hang(programs, kind):
    with short_directory() as directory, kind(programs, directory).started() as keeper:
        with OutageClient(programs, keeper.socket) as client:
            time.sleep(1.5)  # so that the standby is up, and no probe is the first
            return client.ask(f"kill {keeper.plugin_pid()} {int(signal.SIGSTOP)}")


def measure(programs, quick, rounds):
    kinds = KINDS[:1] if quick else KINDS
    return {"events": [{"keeper": kind.name, **_hang(programs, kind)} for _ in range(rounds) for kind in kinds]}


def render(raw):
    rows = []
    for kind in KINDS:
        events = [event for event in raw["events"] if event["keeper"] == kind.name]
        rows.append([kind.name, len(events), figures.spread(event["outage_ms"] for event in events)])
    return figures.table(["kept by", "hangs", "outage that the client sees, ms"], rows)
