"""Measure the cost of a round as ratios of times within one process: python scripts/benchmarks/round.py.

One client on one rank, d = 100, fresh Gaussian features: the time of a round is divided by NumPy's time to draw its
d + 1 normals (SFC64) plus BLAS's time (one thread, 1,024 rows) to colour them. This floor of a sketch also has 0.6
times NumPy's time to draw h d normals at each end. Two clients on two ranks: the time of a round is divided by the sum
of its parts, each measured alone: the bare collectives from a compiled loop, the work of one client, the root's
decoding. Rounds and their references alternate; the script prints the quartiles of the ratio.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mpi_fed.launch.world import World, guard, start

DIMENSION, ROUNDS, PAIRS, ROWS = 100, 20_000, 15, 1024
OMEGA = DIMENSION**0.5
COMPRESSORS: list[dict[str, object]] = [
    {"kind": "none"},
    {"kind": "quantization", "levels": 1},
    {"kind": "bernoulli", "omega": OMEGA},
    {"kind": "rand-h", "omega": OMEGA},
    {"kind": "sketch", "omega": OMEGA},
    {"kind": "partial-participation", "omega": OMEGA},
]

world: World = start()

from mpi4py import MPI  # noqa: E402

from mpi_fed.compressors.sketch import Sketch  # noqa: E402
from mpi_fed.engine.compilation import compiling, kernel  # noqa: E402
from mpi_fed.engine.mpi_calls import Comm, barrier, bcast, comm_of, gather_bytes, gatherv_bytes  # noqa: E402
from mpi_fed.engine.operations.algorithm import update  # noqa: E402
from mpi_fed.engine.operations.compressor import Message, Vector, decode, encode, length  # noqa: E402
from mpi_fed.engine.operations.problem import gradient  # noqa: E402
from mpi_fed.engine.planner import plan  # noqa: E402
from mpi_fed.engine.random_streams import Stream  # noqa: E402
from mpi_fed.engine.round import ELAPSED, State  # noqa: E402
from mpi_fed.engine.schedule import Schedule, is_planned, place_of_round  # noqa: E402
from mpi_fed.engine.wire import Wire  # noqa: E402
from mpi_fed.runner.simulation import Simulation  # noqa: E402
from mpi_fed.study.configuration import Configuration, configuration_from_tables  # noqa: E402

Sizes = NDArray[np.int64]
"""Bytes of each message, by round and client."""


def configuration_of(compressor: dict[str, object], clients: int) -> Configuration:
    """Return a configuration with its compressor and route resolved."""
    tables = {
        "study": {"name": "benchmark", "rounds": ROUNDS, "clients": clients},
        "problem": {"kind": "gaussian", "dimension": DIMENSION},
        "algorithm": {"kind": "sgd"},
        "compressor": compressor,
        "route": {"kind": "auto"},
    }
    configuration = configuration_from_tables(tables)
    resolved = configuration.compressor.resolve(DIMENSION)
    return replace(configuration, compressor=resolved, route=configuration.route.resolve(resolved))


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def floor(h: int) -> Callable[[], float]:
    """Return a function that measures the seconds that NumPy and BLAS take for the draws of a round."""
    rng = np.random.Generator(np.random.SFC64(1))
    normals, rows = np.empty((ROWS, DIMENSION + 1)), rng.standard_normal((ROWS, DIMENSION))
    factor, coloured = rng.standard_normal((DIMENSION, DIMENSION)), np.empty((ROWS, DIMENSION))
    sketch = np.empty((64, max(1, h) * DIMENSION))

    def measure() -> float:
        draw = seconds(lambda: rng.standard_normal(out=normals)) / ROWS
        colour = seconds(lambda: np.dot(rows, factor, out=coloured)) / ROWS
        again = seconds(lambda: rng.standard_normal(out=sketch)) / len(sketch) if h else 0.0
        return draw + colour + 2 * 0.6 * again

    return lambda: float(np.median([measure() for _ in range(9)]))


@kernel
def client_work(
    problem: Any, compressor: Any, schedule: Schedule, wire: Wire, state: State, rounds: int, seed: np.uint64
) -> None:
    """Compute gradients and encode messages, without communication."""
    for k in range(rounds):
        if not is_planned(schedule, k):
            plan(schedule, compressor, seed, k)
        place = place_of_round(schedule, k)
        for job in range(schedule.start[place], schedule.start[place + 1]):
            gradient(problem, schedule, job, seed, state.w, state.g)
            message = Message(Stream(seed, np.uint64(schedule.first), np.uint64(k)), schedule.clients, 0)
            encode(compressor, state.g, wire.send, message)


@kernel
def list_sizes(compressor: Any, schedule: Schedule, wire: Wire, sizes: Sizes, seed: np.uint64) -> None:
    """sizes[k, i] <- the bytes of client i's message in round k, or -1 if the client takes no part."""
    sizes.fill(-1)
    for k in range(len(sizes)):
        if not is_planned(schedule, k):
            plan(schedule, compressor, seed, k)
        place = place_of_round(schedule, k)
        for j in range(schedule.participants_start[place], schedule.participants_start[place + 1]):
            client = schedule.participants[j]
            message = Message(Stream(seed, np.uint64(client), np.uint64(k)), schedule.clients, 0)
            sizes[k, client] = wire.fixed_size if wire.fixed_size >= 0 else length(compressor, message)


@kernel
def root_work(
    compressor: Any, algorithm: Any, wire: Wire, state: State, sizes: Sizes, rounds: int, seed: np.uint64
) -> None:
    """Decode and average every client's message, and update the iterate."""
    for k in range(rounds):
        state.total.fill(0.0)
        for client in range(sizes.shape[1]):
            if sizes[k, client] < 0:
                continue
            message = Message(Stream(seed, np.uint64(client), np.uint64(k)), sizes.shape[1], 0)
            size = wire.fixed_size if wire.fixed_size >= 0 else length(compressor, message)
            decode(compressor, wire.receive[:size], 0.5, state.total, message)
        for j in range(len(state.w)):
            state.iterate_sum[j] += state.w[j]
        update(algorithm, k, state.total, state.w)


@kernel
def bare_collectives(comm: Comm, wire: Wire, w: Vector, sizes: Sizes, rounds: int) -> int:
    """Make the MPI calls of rounds with these sizes and no other work, and return the sum of their error codes."""
    code: int = barrier(comm)
    for k in range(rounds):
        any_sends = False
        for client in range(sizes.shape[1]):
            any_sends |= sizes[k, client] >= 0
        if not any_sends:
            continue
        if wire.fixed_size >= 0:
            code += gather_bytes(comm, wire.send, np.int32(wire.max_clients_per_rank * wire.fixed_size), wire.receive)
        else:
            for client in range(sizes.shape[1]):
                wire.counts[client] = max(sizes[k, client], 0)
            wire.starts[1] = wire.counts[0]
            count = wire.counts[comm.rank]
            code += gatherv_bytes(comm, wire.send, count, wire.receive, wire.counts, wire.starts)
        code += bcast(comm, w)
    return code


def one_rank() -> None:
    """Print the ratio of a round to its floor for each compressor."""
    print(f"one client, one rank, d = {DIMENSION}, {world.library}: a round over its floor (25% / median / 75%)")
    for compressor in COMPRESSORS:
        configuration = configuration_of(compressor, 1)
        simulation = Simulation(configuration, configuration.problem.prepare(1), world.comm, [0, ROUNDS])
        simulation.compile()
        measure = floor(cast(Sketch, configuration.compressor).h if compressor["kind"] == "sketch" else 0)
        ratios = []
        for seed in range(PAIRS):
            before = measure()
            simulation.start(seed)
            simulation.advance(ROUNDS)
            after = measure()
            ratios.append(simulation.state.seconds[ELAPSED] / ROUNDS / (0.5 * (before + after)))
        report(compressor["kind"], ratios, f"floor {1e6 * after:.2f} us")


def parts_of(simulation: Simulation) -> list[Callable[[int], object]]:
    """Compile the parts of a round, and return each as a function of a number of rounds."""
    (problem, codec, algorithm, _), schedule = simulation.kernels, simulation.schedule
    wire, state, seed = simulation.wire, simulation.state, np.uint64(0)
    sizes = np.empty((ROUNDS, 2), np.int64)
    alone = comm_of(MPI.COMM_SELF)
    with compiling():
        client_work(problem, codec, schedule, wire, state, 0, seed)
        list_sizes(codec, schedule, wire, sizes, seed)
        root_work(codec, algorithm, wire, state, sizes, 0, seed)
        bare_collectives(alone, wire, state.w, sizes, 0)
    return [
        lambda n: client_work(problem, codec, schedule, wire, state, n, seed),
        lambda n: root_work(codec, algorithm, wire, state, sizes, n, seed),
        lambda n: bare_collectives(simulation.comm, wire, state.w, sizes, n),
    ]


def two_ranks() -> None:
    """Print the ratio of a round to the sum of its parts for each compressor."""
    if world.is_root:
        print("two clients, two ranks: a round over collectives + a client's work + the root's (25% / median / 75%)")
    for compressor in COMPRESSORS:
        configuration = configuration_of(compressor, 2)
        simulation = Simulation(configuration, configuration.problem.prepare(2), world.comm, [0, ROUNDS])
        simulation.compile()
        parts = parts_of(simulation)
        ratios: list[float] = []
        taken: list[float] = []
        for repetition in range(PAIRS):
            simulation.start(repetition)
            world.comm.Barrier()
            simulation.advance(ROUNDS)
            whole = simulation.state.seconds[ELAPSED]
            taken = []
            for part in parts:
                simulation.schedule.window[:2] = 0
                world.comm.Barrier()
                is_here = world.is_root or part is not parts[1]
                taken.append(seconds(partial(part, ROUNDS)) if is_here else 0.0)
            taken[0] = world.comm.allreduce(taken[0]) / 2
            ratios.append(whole / sum(taken))
        if world.is_root:
            parts_us = " + ".join(f"{1e6 * t / ROUNDS:.2f}" for t in taken)
            report(compressor["kind"], ratios, f"client + root + collectives = {parts_us} us")


def report(kind: object, ratios: list[float], remark: str) -> None:
    """Print the quartiles of the ratios."""
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    print(f"  {kind:22} {low:.2f} / {middle:.2f} / {high:.2f}   ({remark})", flush=True)


if __name__ == "__main__":
    if world.size == 2:
        with guard(world):
            two_ranks()
    else:
        one_rank()
        from mpi_fed.launch.launcher import run_programs

        sys.exit(run_programs(2, [[sys.executable, __file__]])[0])
