"""What a round costs, as ratios within one process: python scripts/benchmark_round.py

One client on one rank, d = 100, fresh Gaussian features. The floor is what NumPy takes to draw the round's d + 1
normals (SFC64) plus what BLAS (one thread, 1,024 rows) takes to colour them; the sketch's floor adds 0.6 times NumPy's
drawing of h d normals at each end. Floor and rounds alternate; the median of the ratios is printed, and the quartiles.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mpi_fed.world import start

if TYPE_CHECKING:
    from mpi_fed.study import Configuration

DIMENSION, ROUNDS, PAIRS, ROWS = 100, 20_000, 15, 1024
OMEGA = DIMENSION**0.5
COMPRESSORS = [
    {"kind": "none"},
    {"kind": "quantization", "levels": 1},
    {"kind": "bernoulli", "omega": OMEGA},
    {"kind": "rand-h", "omega": OMEGA},
    {"kind": "sketch", "omega": OMEGA},
    {"kind": "partial-participation", "omega": OMEGA},
]


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def floor(h: int) -> Callable[[], float]:
    """Seconds a round that NumPy and BLAS take for the same draws, measured anew at each call."""
    rng = np.random.Generator(np.random.SFC64(1))
    normals, rows = np.empty((ROWS, DIMENSION + 1)), np.empty((ROWS, DIMENSION))
    factor, coloured = rng.standard_normal((DIMENSION, DIMENSION)), np.empty((ROWS, DIMENSION))
    sketch = np.empty((64, max(1, h) * DIMENSION))

    def measure() -> float:
        draw = seconds(lambda: rng.standard_normal(out=normals)) / ROWS
        colour = seconds(lambda: np.dot(rows, factor, out=coloured)) / ROWS
        again = seconds(lambda: rng.standard_normal(out=sketch)) / len(sketch) if h else 0.0
        return draw + colour + 2 * 0.6 * again

    rows[:] = rng.standard_normal(rows.shape)
    return measure


def configuration_of(compressor: dict[str, object]) -> Configuration:
    from mpi_fed.study import configuration_from_tables

    tables = {
        "study": {"name": "benchmark", "rounds": ROUNDS, "clients": 1},
        "problem": {"kind": "gaussian", "dimension": DIMENSION},
        "algorithm": {"kind": "sgd"},
        "compressor": compressor,
        "route": {"kind": "auto"},
    }
    given = configuration_from_tables(tables)
    resolved = given.compressor.resolve(DIMENSION)
    return replace(given, compressor=resolved, route=given.route.resolve(resolved))


def main() -> None:
    world = start()
    from mpi_fed.simulation import Simulation

    print(f"one client, one rank, d = {DIMENSION}, {world.library}: a round over its floor (25% / median / 75%)")
    for compressor in COMPRESSORS:
        configuration = configuration_of(compressor)
        simulation = Simulation(configuration, configuration.problem.prepare(1), world.comm, [0, ROUNDS])
        simulation.compile()
        measure = floor(getattr(configuration.compressor, "h", 0) if compressor["kind"] == "sketch" else 0)
        ratios = []
        for seed in range(PAIRS):
            simulation.start(seed)
            below = np.median([measure() for _ in range(9)])
            simulation.advance(ROUNDS)
            above = np.median([measure() for _ in range(9)])
            ratios.append(simulation.state.seconds[0] / ROUNDS / (0.5 * (below + above)))
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        print(f"  {compressor['kind']:22} {low:.2f} / {middle:.2f} / {high:.2f}   ({1e6 * below:.2f} us floor)")


if __name__ == "__main__":
    main()
