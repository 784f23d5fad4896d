"""Measure the costs of a run besides its rounds: python scripts/benchmarks/run.py.

Logging: the share of a run's wall time outside of rounds, at 100 log points a decade, 10^6 rounds and d = 100. Memory:
the largest resident set of a rank after 10^4 and after 10^6 rounds. Second start: seconds from the command to the end
of a run of one round on two ranks, when all kernels have been compiled by an earlier run.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

STUDY = """
[study]
name = "benchmark"
rounds = 1_000_000
clients = 2
[problem]
kind = "gaussian"
dimension = 100
[[compressor]]
kind = "none"
"""
REPETITIONS = 10
STARTS = 7


def command(study: Path, out: Path, *options: str) -> float:
    """Return the seconds that `mpi-fed run` takes on two ranks."""
    words = [sys.executable, "-m", "mpi_fed", "run", str(study), "--ranks=2", f"--out={out}", "--no-analyze", *options]
    begin = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - begin


def logging(study: Path, out: Path) -> None:
    """Print the share of evaluation and logging, measured in this process after a first repetition has compiled."""
    from mpi_fed.launch.world import start
    from mpi_fed.log import schema
    from mpi_fed.runner.repetitions import run
    from mpi_fed.study.plan import make_plan
    from mpi_fed.study.run_options import RunOptions

    def seconds(repetitions: int) -> float:
        begin = time.perf_counter()
        overrides = (f"study.repetitions={repetitions}", "study.clients=1")
        run(make_plan(RunOptions((str(study),), str(out), overrides, ranks=1)), start())
        return time.perf_counter() - begin

    seconds(1)
    taken = seconds(1 + REPETITIONS)
    with h5py.File(next((out / "benchmark").glob("*.h5"))) as file:
        rounds, points = file[schema.WALL_SECONDS.name][1:, -1].sum(), len(file[schema.ROUND.name])
    share = (taken - rounds) / taken
    each = f"{points} log points, {taken / REPETITIONS:.2f} s a repetition"
    print(f"evaluation and logging: {share:.1%} of the wall time ({each})")


def main() -> None:
    """Print start-up, memory and logging."""
    with tempfile.TemporaryDirectory() as folder:
        study, out = Path(folder) / "benchmark.toml", Path(folder)
        study.write_text(STUDY)
        command(study, out / "first", "--set=study.rounds=1")
        starts = [command(study, out / f"start{i}", "--set=study.rounds=1") for i in range(STARTS)]
        low, middle, high = np.percentile(starts, [0, 50, 100])
        print(f"second start, two ranks, to the end of the first round: {low:.2f} / {middle:.2f} / {high:.2f} s")
        for rounds in (10_000, 1_000_000):
            command(study, out / f"{rounds}", f"--set=study.rounds={rounds}")
            most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            print(f"memory of a rank, {rounds:,} rounds: at most {most:.0f} MB")
        logging(study, out / "logging")


if __name__ == "__main__":
    main()
