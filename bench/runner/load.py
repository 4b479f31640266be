"""load: Encrypt calls a second and their latency, the provider against the plain gRPC server, in pairs."""

from runner import figures
from runner.programs import results_of, running, short_directory, wait_for

ROUNDS = 9
SHAPES = ((1, 1), (16, 1), (64, 1), (64, 8))


def _one(programs, server, shape, window):
    in_flight, connections = shape
    return results_of([
        programs.bench_load, "--socket", server["socket"], "--server-pid", str(server["pid"]),
        "--in-flight", str(in_flight), "--connections", str(connections),
        "--warm-up", f"{max(window / 4, 0.05)}s", "--window", f"{window}s"])[0]


def measure(programs, quick, rounds):
    window = 0.1 if quick else 2
    with short_directory() as directory:
        provider, echo = f"unix://{directory}/provider.sock", f"unix://{directory}/echo.sock"
        with running([programs.mock_kms_provider, "serve", "--listen-addr", provider], f"{directory}/log") as ours, \
             running([programs.bench_echo_server, "--listen-addr", echo], f"{directory}/log") as plain:
            servers = [{"name": "provider", "socket": provider, "pid": ours.pid},
                       {"name": "plain", "socket": echo, "pid": plain.pid}]
            runs = []
            for shape in SHAPES:
                for number in range(rounds):
                    for server in servers if number % 2 == 0 else servers[::-1]:
                        wait_for(lambda: ours.poll() is None and plain.poll() is None, "both servers to live")
                        runs.append({"server": server["name"], **_one(programs, server, shape, window)})
    return {"window_seconds": window, "runs": runs}


def _of(raw, server, shape, field):
    return [run[field] for run in raw["runs"]
            if run["server"] == server and (run["in_flight"], run["connections"]) == shape]


def render(raw):
    rows = []
    for shape in SHAPES:
        for server in ("provider", "plain"):
            rows.append([
                f"{shape[0]} on {shape[1]}", "mock-kms-provider" if server == "provider" else "plain gRPC C++",
                *(figures.spread(_of(raw, server, shape, field))
                  for field in ("calls_per_second", "p50_us", "p99_us", "calls_per_server_cpu_second")),
                sum(_of(raw, server, shape, "errors"))])
        rows.append([f"{shape[0]} on {shape[1]}", "*ratio*", *(
            f"*{figures.ratio(_of(raw, 'provider', shape, field), _of(raw, 'plain', shape, field))}*"
            for field in ("calls_per_second", "p50_us", "p99_us", "calls_per_server_cpu_second")), ""])
    return figures.table(
        ["calls in flight on connections", "server", "calls/s", "p50 us", "p99 us", "calls per CPU second", "errors"],
        rows)
