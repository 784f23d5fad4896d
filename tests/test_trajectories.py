"""A trajectory is the same to the last bit on any number of ranks, under both MPIs, on both routes, and uncompiled."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest

CLIENTS, ROUNDS = 4, 120
COMPRESSORS = [
    {"kind": "none"},
    {"kind": "quantization", "levels": 3, "bucket": 5, "value_bits": 16},
    {"kind": "bernoulli", "p": 0.3},
    {"kind": "bernoulli", "p": 0.3, "indices": "explicit"},
    {"kind": "rand-h", "h": 3},
    {"kind": "sketch", "h": 3},
    {"kind": "partial-participation", "p": 0.3},
]
PROBLEMS = {
    "one law": {"kind": "gaussian", "dimension": 13},
    "own laws": {"kind": "gaussian", "dimension": 13, "shift": "both", "batch_size": 3},
    "true gradients": {"kind": "gaussian", "dimension": 13, "shift": "optimum", "batch_size": "full"},
    "digits": {"kind": "digits", "preprocessing": "raw", "sampling": "epochs", "batch_size": 2},
}
CASES = [(problem, 0) for problem in PROBLEMS] + [("one law", i) for i in range(1, len(COMPRESSORS))]


def configuration_of(problem: str, compressor: int, route: str = "auto"):
    from mpi_fed.study import configuration_from_tables

    tables = {
        "study": {"name": "trajectories", "rounds": ROUNDS, "clients": CLIENTS},
        "problem": PROBLEMS[problem],
        "algorithm": {"kind": "sgd"},
        "compressor": COMPRESSORS[compressor],
        "route": {"kind": route},
    }
    given = configuration_from_tables(tables)
    resolved = given.compressor.resolve(given.problem.dimension_of())
    return replace(given, compressor=resolved, route=given.route.resolve(resolved))


def trajectory(comm, problem: str, compressor: int, route: str = "auto") -> str:
    """A digest of the last iterate, the average and the bytes packed; the same on all ranks of comm."""
    from mpi_fed.simulation import Simulation

    configuration = configuration_of(problem, compressor, route)
    simulation = Simulation(configuration, configuration.problem.prepare(CLIENTS), comm, [0, 7, ROUNDS])
    simulation.compile()
    simulation.start(5)
    for stop in (1, 7, 50, ROUNDS):  # where the loop returns to Python must not matter either
        simulation.advance(stop)
    parts = (simulation.state.w, simulation.state.sum, simulation.wire.totals[:2], simulation.wire.client_payload)
    return comm.bcast(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())


@functools.cache
def everything_alone() -> dict[str, str]:
    """Every case on this process alone."""
    from mpi4py import MPI

    return {f"{problem} {i}": trajectory(MPI.COMM_SELF, problem, i) for problem, i in CASES}


@pytest.mark.mpi(ranks=[2, 3, 4])
@pytest.mark.parametrize(("problem", "compressor"), CASES)
def test_any_number_of_ranks_gives_one_trajectory(world, problem, compressor):
    from mpi4py import MPI

    assert trajectory(world.comm, problem, compressor) == trajectory(MPI.COMM_SELF, problem, compressor)


@pytest.mark.mpi(ranks=[1, 3])
@pytest.mark.parametrize("compressor", [0, 4])
def test_both_routes_give_one_trajectory(world, compressor):
    assert len({trajectory(world.comm, "one law", compressor, route) for route in ("gather", "gatherv")}) == 1


def printed_by(python: str, **environment: str) -> str:
    """What this file prints when it is run as a program by some Python."""
    names = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI"))}
    answer = subprocess.run(
        [python, __file__], env=names | environment, capture_output=True, text=True, timeout=600, check=True
    )
    return answer.stdout


def test_both_mpis_and_plain_python_give_one_trajectory(mpi_pythons):
    printed = [printed_by(python) for python in mpi_pythons] + [printed_by(sys.executable, NUMBA_DISABLE_JIT="1")]
    assert printed[0].count("\n") == len(CASES)
    assert printed == [printed[0]] * len(printed)


if __name__ == "__main__":
    from mpi_fed.world import start

    start()
    for name, digest in everything_alone().items():
        print(name, digest)
