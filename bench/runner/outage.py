"""outage: a client like kube-apiserver's measures each keeper's outage after a kill, all in one run."""

import collections
import random
import statistics
import time

from runner import figures, keepers
from runner.programs import OutageClient, short_directory

ROUNDS = 10
KILLS = 100  # of the plugin under each of our own ways, in all rounds together
KILLS_OF_OTHERS = 30  # under each other keeper: theirs differ by a client's jitter alone
CALLERS = 1


def _kills(programs, kind, count, callers):
    """`count` kills in a row, each of a plugin that has been well for more than a second."""
    with short_directory() as directory, kind(programs, directory).started() as keeper:
        with OutageClient(programs, keeper.socket, callers) as client:
            for _ in range(count):
                # Keepers throttle restarts that follow each other within a second; no phase is to be favoured either.
                time.sleep(1.2 + random.random())
                yield client.ask(f"kill {keeper.plugin_pid()} 9")


def measure(programs, quick, rounds):
    events = []
    for number in range(rounds):
        for kind in keepers.ALL if number % 2 == 0 else keepers.ALL[::-1]:
            kills = 1 if quick else -(-(KILLS if kind in keepers.OURS else KILLS_OF_OTHERS) // rounds)
            for event in _kills(programs, kind, kills, CALLERS):
                events.append({"keeper": kind.name, **event})
    return {"callers": CALLERS, "events": events}


def render(raw):
    by_keeper = collections.defaultdict(list)
    for event in raw["events"]:
        by_keeper[event["keeper"]].append(event)
    rows = []
    for name, events in by_keeper.items():
        rows.append([name, len(events), figures.spread(event["outage_ms"] for event in events),
                     figures.spread(event["refusing_ms"] for event in events),
                     f"{sum(event['failed'] for event in events) / len(events):.2f}"])
    return figures.table(["kept by", "kills", "outage that the client sees, ms", "socket refuses, ms",
                          "failed calls per kill"], rows) + _comparison(by_keeper)


def _comparison(by_keeper):
    """The best median outage of the others, divided by ours."""
    ours = {kind.name for kind in keepers.OURS}
    medians = {name: statistics.median(event["outage_ms"] for event in events) for name, events in by_keeper.items()}
    others = [median for name, median in medians.items() if name not in ours]
    if not others:
        return ""
    name = keepers.Supervisor.name
    return (f"\n\nThe best of the others has {min(others) / medians[name]:,.0f} times the outage of `{name}`, and "
            f"{min(others) / medians[keepers.SupervisorWithStandby.name]:,.0f} times that of "
            f"`{keepers.SupervisorWithStandby.name}`.")
