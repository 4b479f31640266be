"""footprint: memory idle and loaded, and CPU while idle, of the keepers and of the plugins they keep."""

import contextlib
import time

from runner import figures, keepers, machine
from runner.programs import OutageClient, results_of, running, short_directory

ROUNDS = 1


def _idle(pids, seconds):
    begin = {name: machine.cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    return {name: {"idle_cpu_percent": (machine.cpu_seconds(pid) - begin[name]) / seconds * 100,
                   **{f"idle_{key}": value for key, value in machine.memory_mb(pid).items()}}
            for name, pid in pids.items()}


def _load(programs, socket, seconds):
    results_of([programs.bench_load, "--socket", socket, "--in-flight", "64", "--connections", "8",
                "--warm-up", "0s", "--window", f"{seconds}s"])


def measure(programs, quick, _rounds):
    """All of them idle side by side through one window; then the servers are loaded, one after the other."""
    idle_seconds, load_seconds = (0.2, 0.1) if quick else (60, 5)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(short_directory())
        pids, sockets = {}, {}
        for kind in [*keepers.ALL, keepers.FleetOfFifty]:
            keeper = stack.enter_context(kind(programs, directory).started())
            with OutageClient(programs, keeper.socket):
                pass  # it has answered
            pids[keeper.name] = keeper.pid
            if kind is keepers.Supervisor:
                pids["mock-kms-provider"], sockets["mock-kms-provider"] = keeper.plugin_pid(), keeper.socket
        sockets["plain gRPC C++"] = f"unix://{directory}/echo.sock"
        pids["plain gRPC C++"] = stack.enter_context(
            running([programs.bench_echo_server, "--listen-addr", sockets["plain gRPC C++"]], f"{directory}/log")).pid
        time.sleep(0.1 if quick else 3)
        result = _idle(pids, idle_seconds)
        for name, socket in sockets.items():
            _load(programs, socket, load_seconds)
            result[name] |= {f"loaded_{key}": value for key, value in machine.memory_mb(pids[name]).items()}
    return {"idle_seconds": idle_seconds, "load_seconds": load_seconds, "processes": result}


def _memory(seen, when):
    if f"{when}_rss_mb" not in seen:
        return ["-"] * 3
    return [figures.number(seen[f"{when}_rss_mb"]), figures.number(seen[f"{when}_own_mb"]), seen[f"{when}_threads"]]


def render(raw):
    rows = [[name, *_memory(seen, "idle"), *_memory(seen, "loaded"),
             figures.number(seen["loaded_peak_mb"]) if "loaded_peak_mb" in seen else "-",
             f"{seen['idle_cpu_percent']:.3f}"] for name, seen in raw["processes"].items()]
    return figures.table(["process", "idle MB", "anonymous", "threads", "loaded MB", "anonymous", "threads", "peak MB",
                          "idle CPU, % of a core"], rows)
