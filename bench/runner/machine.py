"""The machine: its facts, its load, and the CPU time of a process."""

import datetime
import os
import platform
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


def _first_line(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return (done.stdout or done.stderr).splitlines()[0].strip()


def _package(name):
    return _first_line(["dpkg-query", "-W", "-f", "${Version}\n", name])


def _processor():
    with open("/proc/cpuinfo", encoding="ascii") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit(root):
    """The commit, and whether the sources differ from it (the tables themselves do while they are written)."""
    git = ["git", "-C", str(root)]
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", ":!docs"], check=False).returncode != 0
    return _first_line([*git, "rev-parse", "--short", "HEAD"]) + (" with changes" if changed else "")


def facts(root):
    """The facts that a reader needs to judge a figure: hardware, kernel, versions, commit, day."""
    release = platform.freedesktop_os_release()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    packages = ("libgrpc-dev", "libprotobuf-dev", "libssl-dev", "libgit2-dev", "runit", "s6", "supervisor")
    return {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(root),
        "processor": f"{os.cpu_count()} cores of {_processor()}",
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "system": release.get("PRETTY_NAME", "unknown"),
        "compiler": _first_line(["c++", "--version"]),
        "packages": {name: _package(name) for name in packages},
    }


def cpu_seconds(pid):
    """CPU time of a process' threads, also those that ended: the clock of clock_getcpuclockid(3), to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_mb(pid):
    """Resident memory now, of it what no file backs, the highest so far, and the threads, from /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as lines:
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {
        "rss_mb": int(fields["VmRSS"].split()[0]) / 1024,
        "own_mb": int(fields["RssAnon"].split()[0]) / 1024,
        "peak_mb": int(fields["VmHWM"].split()[0]) / 1024,
        "threads": int(fields["Threads"]),
    }


def busy_seconds():
    """CPU time that all processes of the machine have used, also the kernel's."""
    with open("/proc/stat", encoding="ascii") as lines:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, lines.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


class OthersWatch:
    """The share of all cores that everyone else used while something was measured.

    Everything that was started meanwhile has to be waited for before the end.
    """

    def __enter__(self):
        self._begin = time.monotonic(), busy_seconds(), sum(os.times()[:4])
        return self

    def __exit__(self, *_):
        wall, busy, own = self._begin
        took = time.monotonic() - wall
        others = busy_seconds() - busy - (sum(os.times()[:4]) - own)
        self.share = max(0.0, others / (took * os.cpu_count()))
