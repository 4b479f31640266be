"""start: from the start of a program to the first good Status on its socket."""

import tempfile

from runner import figures, keepers
from runner.programs import results_of, short_directory, wait_for

ROUNDS = 25


def _commands(programs, directory):
    """The commands to start, by name: the servers alone, then each keeper with the provider."""
    yield "plain gRPC C++ alone", f"unix://{directory}/e.sock", [
        programs.bench_echo_server, "--listen-addr", f"unix://{directory}/e.sock"]
    yield "mock-kms-provider alone", f"unix://{directory}/p.sock", [
        programs.mock_kms_provider, "serve", "--listen-addr", f"unix://{directory}/p.sock"]
    for kind in keepers.ALL:
        keeper = kind(programs, directory)
        yield f"{keeper.name} with mock-kms-provider", keeper.socket, keeper.command()


def _own_view(programs, directory):
    """The time that the supervisor itself measured: from the launch of the plugin to its first good Status."""
    with keepers.Supervisor(programs, directory).started() as keeper:
        status = wait_for(keeper.status, "the supervisor's status")
    return float(status["probe"]["timeToReady"].rstrip("s")) * 1000


def measure(programs, _quick, rounds):
    runs, own_view = [], []
    for _ in range(rounds):
        with short_directory() as directory:
            for name, socket, command in _commands(programs, directory):
                runs.append({"name": name, **results_of([programs.bench_first_answer, "--socket", socket, "--",
                                                         *command])[0]})
        with short_directory() as directory:
            own_view.append(_own_view(programs, tempfile.mkdtemp(dir=directory)))
    return {"runs": runs, "time_to_ready_ms": own_view}


def render(raw):
    names = list(dict.fromkeys(run["name"] for run in raw["runs"]))
    rows = [[name, *(figures.spread(run[field] for run in raw["runs"] if run["name"] == name)
                     for field in ("listening_ms", "first_answer_ms"))] for name in names]
    rows.append(["supervisor's own view, from the plugin's launch", "-", figures.spread(raw["time_to_ready_ms"])])
    return figures.table(["started", "its socket listens, ms", "first good Status, ms"], rows)
