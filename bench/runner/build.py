"""build: the time of the builder's phases, cold and warm, and the builder's own share."""

import json
import os
import pathlib
import resource
import shutil
import subprocess
import time

from runner import figures
from runner.programs import short_directory

ROUNDS = 5
ROOT = pathlib.Path(__file__).resolve().parents[2]
PHASES = ("fetch", "checkout", "configure", "compile", "smoke-test", "publish")
KINDS = {
    "cold": "cold: an empty directory, no cache of any kind",
    "objects": "an empty directory, all objects in ccache",
    "up to date": "the output is up to date",
    "cache": "the output is gone, the binary in the build cache",
    "pinned": "the same, pinned by `--commit`: nothing is asked",
}


def _cpu_seconds():
    """CPU time of all processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _build(programs, directory, kind, *options, environment=None):
    begin, cpu = time.monotonic(), _cpu_seconds()
    subprocess.run(
        [programs.builder, "build", "--repo", str(ROOT), "--ref", "HEAD", "--build-dir", f"{directory}/work",
         "--output", f"{directory}/out/mock-kms-provider", *options],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    total = (time.monotonic() - begin) * 1000
    info = json.loads(pathlib.Path(directory, "out", "build-info.json").read_text(encoding="utf-8"))
    compiled = kind in ("cold", "objects")
    phases = {phase["name"]: float(phase["duration"].rstrip("s")) * 1000 for phase in info["phases"]} if compiled else {}
    return {"kind": kind, "total_ms": total, "cpu_s": _cpu_seconds() - cpu, "phases_ms": phases}


def measure(programs, _quick, rounds):
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    runs = []
    for _ in range(rounds):
        with short_directory() as directory:
            off = {"CCACHE_DISABLE": "1"}
            runs.append(_build(programs, directory, "cold", environment=off))
            runs.append(_build(programs, directory, "up to date", environment=off))
            for kind, options in (("cache", []), ("pinned", ["--commit", head])):
                shutil.rmtree(f"{directory}/out")
                runs.append(_build(programs, directory, kind, *options, environment=off))
        with short_directory() as directory:
            cache = {"CCACHE_DIR": f"{directory}/ccache"}
            _build(programs, directory, "fill", "--cache-max", "0", environment=cache)
            runs.append(_build(programs, directory, "objects", "--force", environment=cache))
    return {"runs": runs}


def _own_share(run):
    """The share of the time that is not the tools', in percent."""
    tools = run["phases_ms"].get("configure", 0) + run["phases_ms"].get("compile", 0)
    return 100 * (1 - tools / run["total_ms"])


def render(raw):
    rows = []
    for kind, text in KINDS.items():
        runs = [run for run in raw["runs"] if run["kind"] == kind]
        compiled = any(run["phases_ms"] for run in runs)
        rows.append([text,
                     *(figures.spread(run["phases_ms"][phase] for run in runs) if compiled else "-" for phase in PHASES),
                     figures.spread(run["total_ms"] for run in runs), figures.spread(run["cpu_s"] for run in runs),
                     figures.spread(_own_share(run) for run in runs) if compiled else "-"])
    return figures.table(["build", *(f"{phase} ms" for phase in PHASES), "all, ms", "CPU, s", "builder's own, %"], rows)
