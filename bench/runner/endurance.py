"""endurance: the supervisor's resources after a thousand kills in a row."""

import os
import signal
import subprocess

from runner import figures, keepers, machine
from runner.programs import short_directory, wait_for

ROUNDS = 1
KILLS = 1000
LOOKS = (20, 300, 600, KILLS)  # after so many kills; after the first of them what is kept of the past is full


class HurriedSupervisor(keepers.Supervisor):
    options = ("--backoff-initial", "1ms", "--backoff-max", "1ms")


def _kill_and_wait(keeper, pid):
    os.kill(pid, signal.SIGKILL)

    def successor():
        status = keeper.status()
        return status and status["pid"] != pid and status["pid"]

    return wait_for(successor, "the plugin to be restarted")


def _state(programs, keeper):
    """Descriptors may be closed a moment later than they were used: the fewest of some looks count."""
    status = subprocess.run([programs.supervisor, "--control-socket", keeper.control, "status"],
                            capture_output=True, text=True, check=True).stdout
    return {"descriptors": min(len(os.listdir(f"/proc/{keeper.pid}/fd")) for _ in range(20)),
            "processes": len(keepers.descendants(keeper.pid, "mock-kms-provider")),
            "status_lines": len(status.splitlines()), **machine.memory_mb(keeper.pid)}


def measure(programs, quick, _rounds):
    kills = 2 if quick else KILLS
    states = {}
    with short_directory() as directory, HurriedSupervisor(programs, directory).started() as keeper:
        pid = keeper.plugin_pid()
        for kill in range(1, kills + 1):
            pid = _kill_and_wait(keeper, pid)
            if kill in {min(look, kills) for look in LOOKS}:
                states[str(kill)] = _state(programs, keeper)
    return {"states": states}


def render(raw):
    rows = [[kills, state["descriptors"], state["processes"], state["status_lines"], state["threads"],
             figures.number(state["rss_mb"]), figures.number(state["own_mb"])] for kills, state in raw["states"].items()]
    return figures.table(["after kills", "descriptors", "plugin processes", "lines of status", "threads", "MB", "anonymous"], rows)
