"""consistency: checks rules of the contract under many clients and many rotations. It measures no speed."""

from runner import figures
from runner.programs import results_of, running, short_directory

ROUNDS = 1
SECONDS = 60


def measure(programs, quick, rounds):
    seconds = 0.3 if quick else SECONDS
    runs = []
    for _ in range(rounds):
        with short_directory() as directory:
            socket = f"unix://{directory}/kms.sock"
            with running([programs.mock_kms_provider, "serve", "--listen-addr", socket], f"{directory}/log") as server:
                runs += results_of([programs.bench_consistency, "--socket", socket, "--server-pid", str(server.pid),
                                    "--window", f"{seconds}s"])
    return {"runs": runs}


def render(raw):
    rows = [[run["clients"], figures.number(run["seconds"]), f"{run['calls']:,}", run["rotations"], run["disagreements"],
             run["wrong_plaintexts"], run["failed"], figures.number(run["own_memory_kib_after_a_third"] / 1024),
             figures.number(run["own_memory_kib_at_the_end"] / 1024)] for run in raw["runs"]]
    return figures.table(["clients", "seconds", "calls", "rotations", "older key ids shown", "wrong plaintexts",
                          "failed calls", "own MB after a third", "own MB at the end"], rows)
