"""Measure the gain of computing while messages travel: python scripts/benchmarks/overlap.py [OPTIONS], under mpirun.

Three kinds of rounds alternate in one process: sgd, delayed-sgd that waits for each message, and delayed-sgd that does
not wait. The compressor is 1-quantization; each rank has --per-rank clients. The script prints for each --dimension,
--batch and --route the microseconds a round, and the quartiles over turns of the speed of overlapping relative to
waiting. On a virtual cluster (docs/virtual-cluster.md):
scripts/virtual_cluster.py run --hosts 2 --rate 100mbit -- PYTHON scripts/benchmarks/overlap.py
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from mpi_fed.launch.world import guard, start

world = start()

from mpi_fed.runner.simulation import Simulation  # noqa: E402
from mpi_fed.study.configuration import configuration_from_tables  # noqa: E402

TURNS = 11
SECONDS = 0.1
"""Approximate seconds of one turn of one algorithm."""


def prepared(dimension: int, batch: int, route: str, clients: int, algorithm: str, overlap: bool | None) -> Simulation:
    """Return a compiled simulation at its start."""
    configuration = configuration_from_tables(
        {
            "study": {"name": "benchmark", "rounds": 10**9, "clients": clients},
            "problem": {"kind": "gaussian", "dimension": dimension, "batch_size": batch, "rotation": "diagonal"},
            "algorithm": {"kind": algorithm},
            "compressor": {"kind": "quantization", "levels": 1},
            "route": {"kind": route} | ({} if overlap is None else {"overlap": overlap}),
        }
    )
    simulation = Simulation(configuration, configuration.problem.prepare(clients), world.comm, [0, 10**9])
    simulation.compile()
    simulation.start(0)
    return simulation


def seconds(simulation: Simulation, rounds: int) -> float:
    """Return the seconds of a round, the mean over `rounds` rounds."""
    before = simulation.state.seconds[0]
    simulation.advance(simulation.done + rounds)
    return float(simulation.state.seconds[0] - before) / rounds


def main() -> None:
    """Print a line for each dimension, batch size and route."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dimension", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--route", nargs="+", default=["gather", "allgather"])
    parser.add_argument("--per-rank", type=int, default=1, help="clients (default: 1)")
    options = parser.parse_args()
    clients = options.per_rank * world.size
    cases = (("sgd", None), ("delayed-sgd", False), ("delayed-sgd", True))
    for case in [(d, batch, route) for d in options.dimension for batch in options.batch for route in options.route]:
        simulations = [prepared(*case, clients, *kind) for kind in cases]
        slowest = world.comm.bcast(max(seconds(simulation, 20) for simulation in simulations))
        rounds = max(5, int(SECONDS / slowest))
        taken = np.array([[seconds(simulation, rounds) for simulation in simulations] for _ in range(TURNS)])
        if world.is_root:
            low, middle, high = np.percentile(taken[:, 1] / taken[:, 2], [25, 50, 75])
            plain, waiting, overlapping = 1e6 * np.median(taken, axis=0)
            print(
                f"d = {case[0]:9,}  batch {case[1]:4}  {case[2]:10} {world.size} ranks, {clients} clients:  "
                f"sgd {plain:9.1f}, waiting {waiting:9.1f}, overlapping {overlapping:9.1f} us a round;  "
                f"{low:.2f} / {middle:.2f} / {high:.2f} times as fast as waiting",
                flush=True,
            )
        for simulation in simulations:
            simulation.close()


if __name__ == "__main__":
    with guard(world):
        main()
