"""Measure the cost of timing the phases of every 251st round: python scripts/benchmarks/phases.py.

Stretches of 125 rounds with and without a timed round alternate. Each stretch begins at a random round, because random
numbers are drawn ahead, which makes some rounds slower than others. d = 100, one client a rank. The script prints how
many per cent the timed rounds add to the time of all rounds: the quartiles, from pairs of medians. Run it alone or
under mpirun.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np

from mpi_fed.launch.world import guard, start

world = start()

from mpi_fed.engine.phase_clock import TIMED  # noqa: E402
from mpi_fed.runner.simulation import Simulation  # noqa: E402
from mpi_fed.study.configuration import configuration_from_tables  # noqa: E402

DIMENSION, ROUNDS, TURNS, GROUPS = 100, 125, 400, 25
COMPRESSORS: list[dict[str, object]] = [{"kind": "none"}, {"kind": "quantization", "levels": 1}]


def prepared(compressor: dict[str, object]) -> Simulation:
    """Return a compiled simulation at its start."""
    configuration = configuration_from_tables(
        {
            "study": {"name": "benchmark", "rounds": 10**9, "clients": world.size},
            "problem": {"kind": "gaussian", "dimension": DIMENSION},
            "algorithm": {"kind": "sgd"},
            "compressor": compressor,
            "route": {"kind": "gather"},
        }
    )
    population = configuration.problem.prepare(world.size)
    simulation = Simulation(configuration, population, world.comm, [0, 10**9])
    simulation.compile()
    simulation.start(0)
    return simulation


def seconds(simulation: Simulation, draw: np.random.Generator, timed: bool) -> float:
    """Return the seconds of ROUNDS rounds from a random round on, with or without a timed round among them."""
    least = TIMED - ROUNDS + 1 if timed else 1
    first = int(TIMED * draw.integers(1000) + draw.integers(least, least + ROUNDS))
    simulation.go_to(first)
    begin = time.perf_counter()
    simulation.advance(first + ROUNDS)
    return time.perf_counter() - begin


def main() -> None:
    """Print the quartiles for each compressor."""
    for compressor in COMPRESSORS:
        simulation, excess, draw = prepared(compressor), [], np.random.default_rng(0)
        for _ in range(GROUPS):
            taken = [[seconds(simulation, draw, timed) for timed in (False, True)] for _ in range(TURNS)]
            without, with_one = np.median(taken, axis=0)
            excess.append(100 * (with_one / without - 1) * ROUNDS / TIMED)
        if world.is_root:
            low, middle, high = np.percentile(excess, [25, 50, 75])
            print(f"{compressor['kind']:14}{world.size} ranks: {low:+.2f} / {middle:+.2f} / {high:+.2f} %", flush=True)


if __name__ == "__main__":
    with guard(world):
        main()
