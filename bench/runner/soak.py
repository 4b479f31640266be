"""soak: ten minutes of random events under AddressSanitizer with UBSan, and under ThreadSanitizer. It measures no speed.

The events and checks are those of tests/support/soak.py; the presets' programs are built first.
"""

import json
import os
import pathlib
import subprocess
import tempfile

from runner import figures

ROUNDS = 1
SECONDS = 600
PRESETS = ["asan-ubsan", "tsan"]
TARGETS = ["mock-kms-provider", "supervisor", "builder", "python_stubs"]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def _run(command, **options):
    if subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False, **options).returncode != 0:
        raise SystemExit(f"bench/run: failed: {' '.join(map(str, command))}")


def _soak(preset, seconds, seed):
    directory = ROOT / "build" / preset
    _run(["cmake", "--preset", preset])
    _run(["cmake", "--build", directory, "--target", *TARGETS])
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "report"
        environment = {**os.environ, "KMS_SOAK_SECONDS": str(seconds), "KMS_SOAK_SEED": str(seed), "KMS_SOAK_REPORT": str(report)}
        subprocess.run(["ctest", "--test-dir", directory, "--output-on-failure", "-R", "^test_soak$"], env=environment, check=False, cwd=ROOT)
        if not report.exists():
            raise SystemExit(f"bench/run: the soak of {preset} with seed {seed} ended early; see its output above")
        return {"preset": preset, **json.loads(report.read_text())}


def measure(programs, quick, rounds):
    del programs  # the presets have their own
    presets = PRESETS[:1] if quick else PRESETS
    return {"runs": [_soak(preset, 10 if quick else SECONDS, seed) for seed in range(1, rounds + 1) for preset in presets]}


def render(raw):
    rows = [[run["preset"], run["seed"], figures.number(run["seconds"]), sum(run["events"].values()), f"{run['calls']:,}", run["restarts"],
             len(run["broken"]), len(run["findings"]), run["exit_code"]] for run in raw["runs"]]
    return figures.table(["preset", "seed", "seconds", "events", "calls", "restarts", "broken promises", "sanitizer findings", "exit code"],
                         rows)
