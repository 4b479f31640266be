"""load: Encrypt calls a second and their latency, the provider against a plain gRPC server and a Go server, in turn."""

import contextlib
import pathlib
import subprocess

from runner import figures
from runner.programs import results_of, running, short_directory

ROUNDS = 9
SHAPES = ((1, 1), (16, 1), (64, 1), (64, 8))


def _one(programs, server, shape, window):
    in_flight, connections = shape
    return results_of([
        programs.bench_load, "--socket", server["socket"], "--server-pid", str(server["pid"]),
        "--in-flight", str(in_flight), "--connections", str(connections),
        "--warm-up", f"{max(window / 4, 0.05)}s", "--window", f"{window}s"])[0]


def _servers(programs, directory):
    """(name, socket, command without its socket) of each server."""
    servers = [("provider", [programs.mock_kms_provider, "serve"]), ("plain", [programs.bench_echo_server])]
    if programs.go_server:
        servers.append(("go", [programs.go_server]))
    return [(name, f"unix://{directory}/{name}.sock", command) for name, command in servers]


def measure(programs, quick, rounds):
    window = 0.1 if quick else 2
    go_version = programs.go_server and subprocess.run(
        [programs.go_server, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    with short_directory() as directory, contextlib.ExitStack() as processes:
        servers = []
        for name, socket, command in _servers(programs, directory):
            process = processes.enter_context(running([*command, "--listen-addr", socket], f"{directory}/log"))
            servers.append({"name": name, "socket": socket, "pid": process.pid, "process": process})
        runs = []
        for shape in SHAPES:
            for number in range(rounds):
                for server in servers if number % 2 == 0 else servers[::-1]:
                    if any(one["process"].poll() is not None for one in servers):
                        raise RuntimeError(f"a server ended: {pathlib.Path(directory, 'log').read_text()[-2000:]}")
                    runs.append({"server": server["name"], **_one(programs, server, shape, window)})
    return {"window_seconds": window, "go_version": go_version, "runs": runs}


def _of(raw, server, shape, field):
    return [run[field] for run in raw["runs"]
            if run["server"] == server and (run["in_flight"], run["connections"]) == shape]


def render(raw):
    names = {"provider": "mock-kms-provider", "plain": "plain gRPC C++", "go": raw.get("go_version")}
    fields = ("calls_per_second", "p50_us", "p99_us", "calls_per_server_cpu_second")
    rows = []
    for shape in SHAPES:
        first = f"{shape[0]} on {shape[1]}"
        others = [name for name in names if name != "provider" and _of(raw, name, shape, "errors")]
        for server in ("provider", *others):
            rows.append([first, names[server], *(figures.spread(_of(raw, server, shape, field)) for field in fields),
                         sum(_of(raw, server, shape, "errors"))])
        for other in others:
            rows.append([first, f"*ratio to {'Go' if other == 'go' else 'plain C++'}*", *(
                f"*{figures.ratio(_of(raw, 'provider', shape, field), _of(raw, other, shape, field))}*" for field in fields), ""])
    return figures.table(
        ["calls in flight on connections", "server", "calls/s", "p50 us", "p99 us", "calls per CPU second", "errors"],
        rows)
