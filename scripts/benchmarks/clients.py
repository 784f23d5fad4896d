"""Compare rounds of many and of few clients when equally many take part: python scripts/benchmarks/clients.py.

The script prints a ratio of two rates of rounds: with 1,000,000 clients, of which 100 take part in a round on average,
divided by the rate with 100 clients, all of which take part. d = 100, float32, sgd and memories (control variates).
Both cases alternate in one process; the quartiles of the ratio are over turns. Run the script alone or under mpirun.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from mpi_fed.launch.world import guard, start

world = start()

from mpi_fed.runner.simulation import Simulation  # noqa: E402
from mpi_fed.study.configuration import configuration_from_tables  # noqa: E402

DIMENSION, MANY, FEW, ROUNDS, TURNS = 100, 1_000_000, 100, 2_000, 15


def prepared(clients: int, algorithm: str) -> Simulation:
    """Return a compiled simulation with FEW clients a round on average."""
    configuration = configuration_from_tables(
        {
            "study": {"name": "benchmark", "rounds": 10**9, "clients": clients},
            "problem": {"kind": "gaussian", "dimension": DIMENSION},
            "algorithm": {"kind": algorithm},
            "compressor": {"kind": "partial-participation", "p": FEW / clients},
            "route": {"kind": "gatherv"},
        }
    )
    simulation = Simulation(configuration, configuration.problem.prepare(clients), world.comm, [0, 10**9])
    simulation.compile()
    simulation.start(0)
    return simulation


def seconds(simulation: Simulation) -> float:
    """Return the seconds of a round, the mean over ROUNDS rounds."""
    before = simulation.state.seconds[0]
    simulation.advance(simulation.done + ROUNDS)
    return float(simulation.state.seconds[0] - before) / ROUNDS


def main() -> None:
    """Print the ratio for each algorithm."""
    for algorithm in ("sgd", "control-variates"):
        pair = [prepared(clients, algorithm) for clients in (MANY, FEW)]
        taken = np.array([[seconds(simulation) for simulation in pair] for _ in range(1 + TURNS)])[1:]
        if world.is_root:
            low, middle, high = np.percentile(taken[:, 1] / taken[:, 0], [25, 50, 75])
            us = " and ".join(f"{1e6 * own:.1f}" for own in np.median(taken, axis=0))
            ratio = f"{low:.2f} / {middle:.2f} / {high:.2f}"
            print(f"{algorithm:17}{world.size} ranks: {ratio}   ({us} us a round)", flush=True)


if __name__ == "__main__":
    with guard(world):
        main()
