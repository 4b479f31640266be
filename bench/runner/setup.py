"""setup: from a fresh clone to a healthy `scripts/run`, and to the images, against an earlier commit, in pairs.

The packages are present. Each clone is new, and the images of a run are removed, so no cache of a compiler, builder or engine helps.
KMS_BENCH_BASE names the earlier commit.
"""

import os
import pathlib
import subprocess
import tempfile
import time

from runner import figures, machine

ROUNDS = 2
ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = os.environ.get("KMS_BENCH_BASE", "59909aa")
BASE_IMAGE = "localhost/mock-kms-base:bookworm"
IMAGES = [BASE_IMAGE, *(f"localhost/mock-kms-plugin-{name}:bench" for name in ("runtime", "builder", "full"))]
COMMANDS = {"scripts/run": ["scripts/run", "--background"], "scripts/image": ["scripts/image", "--tag", "bench", "runtime", "builder", "full"]}


def _git(*words):
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def _run(checkout, command):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CCACHE_")}
    done = subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench/run: {' '.join(command)} failed in {checkout}: {done.stderr[-2000:]}")


def _remove_images():
    subprocess.run(["podman", "rmi", "--force", "--ignore", *IMAGES], check=True, stdout=subprocess.DEVNULL)


def _one(commit, name):
    with tempfile.TemporaryDirectory(prefix="kms-bench.", dir="/tmp") as directory:
        checkout = f"{directory}/checkout"
        _git("clone", "-q", "--no-hardlinks", str(ROOT), checkout)
        _git("-C", checkout, "checkout", "-q", commit)
        if name == "scripts/image":
            _remove_images()
        begin, busy = time.monotonic(), machine.busy_seconds()
        _run(checkout, COMMANDS[name])
        run = {"commit": commit, "command": name, "seconds": time.monotonic() - begin, "cpu_seconds": machine.busy_seconds() - busy}
        if name == "scripts/run":
            _run(checkout, ["scripts/run", "--stop"])
        else:
            _remove_images()
        return run


def measure(programs, quick, rounds):
    """Quick: only `scripts/run` of this commit. Else some 15 minutes a round."""
    del programs  # each clone makes its own
    head, base = _git("-C", str(ROOT), "rev-parse", "--short", "HEAD"), _git("-C", str(ROOT), "rev-parse", "--short", BASE)
    if quick:
        return {"head": head, "base": base, "runs": [_one(head, "scripts/run")]}
    runs = []
    for number in range(rounds):
        for name in COMMANDS:
            for commit in (head, base) if number % 2 == 0 else (base, head):
                runs.append(_one(commit, name))
    return {"head": head, "base": base, "runs": runs}


def _of(raw, commit, name, field):
    return [run[field] for run in raw["runs"] if (run["commit"], run["command"]) == (commit, name)]


def render(raw):
    rows = []
    for name in COMMANDS:
        for field, words in (("seconds", "elapsed, s"), ("cpu_seconds", "processor time, s")):
            ours, theirs = _of(raw, raw["head"], name, field), _of(raw, raw["base"], name, field)
            rows.append([f"`{name}`: {words}", figures.spread(ours), figures.spread(theirs), f"*{figures.ratio(ours, theirs)}*"])
    return figures.table(["a fresh clone, packages present", f"commit {raw['head']}", f"commit {raw['base']}", "*ratio*"], rows)
