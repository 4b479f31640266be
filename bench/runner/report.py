"""report: a page of the evidence of 3 nodes, each with 10,000 calls and 200 restarts."""

import datetime
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time

from runner import figures

ROUNDS = 9
START = datetime.datetime(2026, 11, 30, 2, 0, tzinfo=datetime.timezone.utc)


def _at(seconds):
    return (START + datetime.timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _events(restarts, seconds, rng):
    """The events of a supervisor whose plugin is killed again and again, and hangs each tenth time."""
    events = []

    def add(at, kind, text, **details):
        events.append({"number": str(len(events) + 1), "at": _at(at), "kind": kind, "text": text, "details": details})

    add(0, "LAUNCHED", "launched the plugin", pid="100", start="1")
    add(0.05, "READY", "the plugin is ready", pid="100", after="50.0 ms", handover="it took the socket over")
    for i in range(restarts):
        pid, at = str(100 + i), (i + 0.3 + 0.4 * rng.random()) * seconds / restarts
        cause, outage = "a SIGKILL that the supervisor did not send; someone sent it", 0.02 + rng.random() * 0.05
        if i % 10 == 9:
            cause, outage = "no answer to 3 probes in a row; the supervisor ended it (TERM, then KILL after 500ms)", 3.6
            add(at + 3, "TERMINATING", "ending the plugin", pid=pid, cause=cause)
        add(at + outage - 0.02, "ENDED", "the plugin ended", pid=pid, status="killed by SIGKILL (signal 9, Killed)", cause=cause,
            lived="17.4 s", next="restart at once")
        add(at + outage - 0.015, "LAUNCHED", "launched the plugin", pid=str(101 + i), start=str(i + 2))
        add(at + outage, "READY", "the plugin is ready", pid=str(101 + i), after="15.0 ms", handover="it took the socket over")
        text = f"{outage * 1000:.1f} ms" if outage < 1 else f"{outage:.1f} s"
        add(at + outage, "OUTAGE_OVER", "calls are answered again", outage=text, cause=cause, **{"of-pid": pid})
    return events


def _journal(calls, seconds, rng):
    for i in range(calls):
        method = rng.choice(["Status", "Encrypt", "Decrypt"])
        failed = rng.random() < 0.02
        yield {"number": str(i + 1), "at": _at(i * seconds / calls), "method": method, "uid": f"{rng.getrandbits(64):016x}",
               "keyId": "default/v1/e23984db" if i < calls / 2 else "default/v2/5c1d77aa", "requestBytes": "60", "responseBytes": "120",
               "code": "UNAVAILABLE" if failed else "OK", "latency": f"{rng.random() / 1000:.6f}s", "fault": "error" if failed else "",
               "connection": "2", "event": ""}


def write_evidence(directory, nodes=3, calls=10_000, restarts=200, seconds=3600, seed=1):
    """Files as the cleanup step collects them."""
    rng = random.Random(seed)
    for node in range(nodes):
        pod = pathlib.Path(directory) / f"master-{node}" / f"mock-kms-plugin-{node}"
        pod.mkdir(parents=True)
        status = {"state": "SERVING", "since": _at(10), "at": _at(seconds), "healthy": True, "ready": True, "pid": 100 + restarts, "restarts": restarts,
                  "supervisorVersion": "0.1.0", "leaseLeft": "179.5s", "answer": {"version": "v2", "healthz": "ok", "keyId": "default/v2/5c1d77aa"},
                  "binary": {"sha256": "ab" * 32}}
        (pod / "status.json").write_text(json.dumps(status, indent=1) + "\n")
        for name, lines in (("events.json", _events(restarts, seconds, rng)), ("journal.json", _journal(calls, seconds, rng))):
            (pod / name).write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
        (pod / "counts.txt").write_text("METHOD  CODE  CALLS  FAULTED\nStatus OK 3000 0\n")
        (pod / "provider-metrics.txt").write_text(f'# HELP mock_kms_calls_total Calls.\nmock_kms_calls_total{{method="Status",code="OK"}} {calls}\n')
        (pod / "supervisor-metrics.txt").write_text(f'# HELP kms_supervisor_up 1.\nkms_supervisor_ends_total{{instance="0",cause="exited"}} {restarts}\n')
        (pod / "build-info.json").write_text(json.dumps({"repository": "/usr/share/source.git", "commit": "1" * 40}))
        (pod / "build-plugin.log").write_text(f'{_at(0)} info    builder: phase done phase=publish\n')
        (pod / "supervisor.log").write_text(f'{_at(0)} info    supervisor: supervising socket=unix:///kms.sock\n')


def measure(programs, quick, rounds):
    size = {"calls": 500, "restarts": 10} if quick else {"calls": 10_000, "restarts": 200}
    seconds = []
    with tempfile.TemporaryDirectory() as directory:
        write_evidence(f"{directory}/evidence", **size)
        page = f"{directory}/report.html"
        for _ in range(rounds):
            before, begun = os.times(), time.monotonic()
            subprocess.run([programs.supervisor, "report", f"{directory}/evidence", "--output", page], check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            seconds.append({"wall": time.monotonic() - begun,
                            "cpu": after.children_user + after.children_system - before.children_user - before.children_system})
        return {**size, "seconds": seconds, "bytes": os.path.getsize(page)}


def render(raw):
    rows = [["elapsed, s", figures.spread(one["wall"] for one in raw["seconds"])],
            ["processor time, s", figures.spread(one["cpu"] for one in raw["seconds"])],
            ["size of the page, MB", f"{raw['bytes'] / 1e6:.2f}"]]
    return figures.table([f"3 nodes, each {raw['calls']} calls and {raw['restarts']} restarts", "measured"], rows)
