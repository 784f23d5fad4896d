"""What letting messages travel meanwhile gains: python scripts/benchmarks/overlap.py [OPTIONS], under mpirun

Rounds of sgd, of delayed-sgd that waits for each message, and of delayed-sgd that does not, by turns in one process;
1-quantization, --per-rank clients a rank. Printed for each --dimension, --batch and --route are microseconds a round,
and the quartiles over turns of how many times as fast overlapping is as waiting. On a virtual cluster
(docs/virtual-cluster.md): scripts/virtual_cluster.py run --hosts 2 --rate 100mbit -- PYTHON scripts/benchmarks/overlap.py
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
"""Of one turn of one of them, about."""


def prepared(dimension: int, batch: int, route: str, clients: int, algorithm: str, overlap: bool | None) -> Simulation:
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
    """Of a round."""
    before = simulation.state.seconds[0]
    simulation.advance(simulation.done + rounds)
    return float(simulation.state.seconds[0] - before) / rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dimension", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--route", nargs="+", default=["gather", "allgather"])
    parser.add_argument("--per-rank", type=int, default=1, help="clients (default: 1)")
    given = parser.parse_args()
    clients = given.per_rank * world.size
    cases = (("sgd", None), ("delayed-sgd", False), ("delayed-sgd", True))
    for case in [(d, batch, route) for d in given.dimension for batch in given.batch for route in given.route]:
        those = [prepared(*case, clients, *kind) for kind in cases]
        one = world.comm.bcast(max(seconds(simulation, 20) for simulation in those))
        rounds = max(5, int(SECONDS / one))
        taken = np.array([[seconds(simulation, rounds) for simulation in those] for _ in range(TURNS)])
        if world.is_root:
            low, middle, high = np.percentile(taken[:, 1] / taken[:, 2], [25, 50, 75])
            plain, waits, meanwhile = 1e6 * np.median(taken, axis=0)
            print(
                f"d = {case[0]:9,}  batch {case[1]:4}  {case[2]:10} {world.size} ranks, {clients} clients:  "
                f"sgd {plain:9.1f}, waiting {waits:9.1f}, overlapping {meanwhile:9.1f} us a round;  "
                f"{low:.2f} / {middle:.2f} / {high:.2f} times as fast as waiting",
                flush=True,
            )
        for simulation in those:
            simulation.close()


if __name__ == "__main__":
    with guard(world):
        main()
