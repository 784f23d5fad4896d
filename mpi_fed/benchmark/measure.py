"""Run on the ranks: time rounds of the loop and the bare collectives, and repeat the rounds on one rank as a check.

The loop times every round whose number is a multiple of TIMED. So the loop is called for these rounds one by one, with
a few untimed rounds before each, and the increase of its clock is the sample of the timed round. Bare collectives
follow each timed round, so that anything that slows the machine down slows both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from ..engine.compilation import COMPILED, compiling, kernel
from ..engine.mpi_calls import Comm, barrier, comm_of, wtime
from ..engine.operations.compressor import participants
from ..engine.operations.downlink import bare_downlink
from ..engine.operations.route import NOT_DEFINED, bare_uplink
from ..engine.phase_clock import TIMED
from ..engine.phases import STEPS
from ..engine.schedule import Schedule, place_of_round
from ..engine.wire import DOWNLINK_BYTES, PAYLOAD_BYTES, UPLINK_BYTES, Wire
from ..launch.world import World
from ..problems.population import Population
from ..routes.auto import Auto
from ..runner.simulation import Simulation
from ..study.configuration import Configuration
from ..study.labels import describe
from ..study.memory_estimate import walked
from ..terminal.progress import Progress
from .cases import repetitions_at
from .result import Measured

SEED = 0
WARM_UP = 3
"""Timed rounds at the start that are discarded."""
LEAD, LEAD_SHARE = 10, 100_000
"""Untimed rounds before each timed round: LEAD_SHARE / d, from 1 to LEAD. They fill the caches as in a run."""
ROUNDING = 1e-4
"""Relative or absolute difference of iterates that is allowed where float32 numbers are summed in another order."""
ROUNDING_TO_FLOAT16 = 2.0**-9
"""Allowed difference if w is sent back in float16: two close numbers may be rounded to neighbours, 2^-10 apart."""
ROUNDING_TO_LEVELS = 0.05
"""Relative difference in norm that is allowed where the sum is rounded to levels, sometimes to an adjacent level."""
TRIES = 10**7
"""Number of timed rounds that are searched for rounds in which a client sends."""

Floats = NDArray[np.float64]
Rounds = NDArray[np.int64]


@kernel
def sending_rounds(compressor: Any, seed: np.uint64, clients: int, everyone: Rounds, rounds: Rounds) -> int:
    """rounds <- the first timed rounds after round 0 in which a client sends; return their number.

    `rounds` has shape (R,); fewer than R rounds may be found.
    """
    count = 0
    for i in range(1, TRIES):
        if count == len(rounds):
            break
        if participants(compressor, seed, np.uint64(TIMED * i), clients, everyone) > 0:
            rounds[count] = TIMED * i
            count += 1
    return count


@kernel
def count_sending(compressor: Any, seed: np.uint64, clients: int, everyone: Rounds, start: int, stop: int) -> int:
    """Return the number of rounds start <= k < stop in which at least one client sends."""
    count = 0
    for k in range(start, stop):
        if participants(compressor, seed, np.uint64(k), clients, everyone) > 0:
            count += 1
    return count


@kernel
def as_after_encoding(wire: Wire, walked: Floats, size: int) -> None:
    """Bring the caches into the state at the start of a round's uplink: vectors read and messages just written."""
    for j in range(len(walked)):
        walked[j] += 1.0  # filling the array with one number may bypass the caches
    for _ in range(2):  # flipping all bits twice restores the bytes
        for i in range(size):
            wire.send[i] ^= np.uint8(255)


@kernel
def bare_round(
    route: Any,
    comm: Comm,
    wire: Wire,
    schedule: Schedule,
    w: Floats,
    walked: Floats,
    round: int,
    repeats: int,
    seconds: Floats,
) -> int:
    """Repeat the collectives of the last round; seconds <- (uplink, downlink) of the last repeat.

    `seconds` has shape (2,). Returns MPI's error code.
    """
    place, size, code = place_of_round(schedule, round), 0, 0
    for slot in range((schedule.start[place + 1] - schedule.start[place]) // schedule.steps):
        size += wire.sizes[slot]
    for _ in range(repeats):
        as_after_encoding(wire, walked, size)
        code = barrier(comm)
        begun = wtime()
        if code == 0:
            code = bare_uplink(route, comm, wire, size)
        between = wtime()
        if code == 0:
            code = bare_downlink(route.downlink, comm, w)
        seconds[0], seconds[1] = between - begun, wtime() - between
        if code != 0:
            break
    return code


def measure_all(
    configurations: Sequence[Configuration], repetitions: int | None, world: World, progress: Progress, note: str = ""
) -> list[Measured]:
    """Measure each configuration; return the measurements at the root, an empty list on the other ranks."""
    measurements = []
    with progress:
        for configuration in configurations:
            d, route = configuration.problem.dimension_of(), configuration.route.kind
            progress.start(f"{note}d = {d:,}, {configuration.label}, {route}")
            progress.begin()
            measured = measure(configuration, repetitions or repetitions_at(d), world)
            measurements += [measured] if measured else []
            progress.advance(1)
    return measurements


def measure(configuration: Configuration, repetitions: int, world: World) -> Measured | None:
    """Return the samples of one configuration and its faults at the root, None on the other ranks."""
    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, world.comm, [0, configuration.rounds])
    simulation.compile()
    rounds = _timed_rounds(simulation, WARM_UP + repetitions)
    lead = max(1, min(LEAD, LEAD_SHARE // population.dimension)) if COMPILED else 0
    phases, bare_seconds, has_bare = _samples(simulation, rounds, lead)
    gathered = world.comm.gather((phases[WARM_UP:], simulation.state.w.tobytes() if world.is_root else None))
    same = world.comm.gather(_agrees(world, simulation))
    simulation.close()
    if gathered is None or same is None:
        return None
    wire, sending = simulation.wire, 1
    reasons: list[str] = []
    if not all(same):
        reasons.append("ranks differ in the iterate")
    if len(rounds):
        sending, differences = _compare_with_one_rank(simulation, population, rounds, lead)
        reasons += differences
    messages = int(wire.histogram.sum())
    return Measured(
        route=configuration.route.kind,
        compressor=configuration.compressor.table(),
        label=describe(configuration.compressor),
        dimension=population.dimension,
        clients=configuration.clients,
        downlink_bits=_downlink_bits(configuration),
        compressed_downlink=None if configuration.downlink is None else configuration.downlink.table(),
        phases=np.array([samples for samples, _ in gathered]),
        bare=bare_seconds[WARM_UP:] if has_bare else None,
        payload_bytes=wire.totals[PAYLOAD_BYTES] / max(1, messages),
        messages=messages / sending,
        uplink=wire.totals[UPLINK_BYTES] / sending,
        downlink=wire.totals[DOWNLINK_BYTES] / sending,
        reasons=reasons,
    )


def _downlink_bits(configuration: Configuration) -> int | None:
    """Return the bits of a float of w on the downlink, or None if w is not sent."""
    if configuration.route.reaches_all_ranks or configuration.downlink is not None:
        return None
    return configuration.route.downlink_bits or 64


def _timed_rounds(simulation: Simulation, count: int) -> Rounds:
    rounds, everyone = np.zeros(count, np.int64), np.zeros(simulation.configuration.clients, np.int64)
    arguments = simulation.kernels.compressor, np.uint64(SEED), len(everyone), everyone
    with compiling("bench", *simulation.kernels), np.errstate(all="ignore"):
        sending_rounds(*arguments, rounds[:0])
        bare_round(*_bare_arguments(simulation, 0, comm_of(MPI.COMM_SELF)), 0, 0, np.zeros(2))
    with np.errstate(all="ignore"):
        return rounds[: sending_rounds(*arguments, rounds)]


def _bare_arguments(
    simulation: Simulation, numbers: int, comm: Comm | None = None
) -> tuple[Any, Comm, Wire, Schedule, Floats, Floats]:
    """Return the first arguments of `bare_round`, which reads and writes `numbers` floats before the collectives."""
    route, w, vectors = simulation.kernels.route, simulation.state.w, np.zeros(numbers)
    return route, comm or simulation.comm, simulation.wire, simulation.schedule, w, vectors


def _samples(simulation: Simulation, rounds: Rounds, lead: int) -> tuple[Floats, Floats, bool]:
    """Return the seconds of each round's steps and of its bare collectives, and whether the route has these.

    The seconds have shapes (R, 9) and (R, 2) for R rounds.
    """
    phases, bare_seconds = np.zeros((len(rounds), len(STEPS))), np.zeros((len(rounds), 2))
    clock, has_bare = simulation.wire.clock[: len(STEPS)], True
    arguments = _bare_arguments(simulation, walked(simulation.population.dimension))
    simulation.start(SEED)
    for sample, round in enumerate(rounds):
        before = clock.copy()
        simulation.go_to(round - lead)
        simulation.advance(round + 1)
        phases[sample] = clock - before
        if has_bare:
            code = bare_round(*arguments, round, lead + 1, bare_seconds[sample])
            if code not in (0, NOT_DEFINED):
                raise RuntimeError(f"an MPI call failed: {MPI.Get_error_string(code)}")
            has_bare = code != NOT_DEFINED
    return phases, bare_seconds, has_bare


def _agrees(world: World, simulation: Simulation) -> bool:
    """Return whether this rank has the root's iterate, rounded as on the downlink."""
    roots = simulation.state.model.copy()
    world.comm.Bcast(roots)
    return roots.tobytes() == simulation.state.model.tobytes()


def _compare_with_one_rank(
    simulation: Simulation, population: Population, rounds: Rounds, lead: int
) -> tuple[int, list[str]]:
    """Repeat the rounds on one rank over the plain route (gather or gatherv), and compare.

    Returns the number of rounds in which a client sent, and a sentence for each difference.
    """
    configuration = plain = simulation.configuration
    if not configuration.route.joint_messages:
        route = Auto(downlink_bits=configuration.route.downlink_bits).resolve(configuration.compressor)
        plain = replace(configuration, route=route)
    alone = Simulation(plain, population, MPI.COMM_SELF, [0, configuration.rounds])
    alone.compile()
    alone.start(SEED)
    reasons: dict[str, None] = {}
    for round in rounds:
        alone.go_to(round - lead)
        alone.advance(round)
        before = alone.wire.totals[PAYLOAD_BYTES], alone.wire.histogram.sum()
        alone.advance(round + 1)
        booked = alone.wire.totals[PAYLOAD_BYTES] - before[0]
        packed = alone.wire.sizes[: alone.wire.histogram.sum() - before[1]]
        reasons |= dict.fromkeys(_message_faults(packed, booked, configuration, population.dimension))
    if not np.isfinite(alone.state.w).all():
        reasons["the iterate is not finite"] = None
    if fault := _iterate_fault(simulation.state.w, alone.state.w, configuration):
        reasons[fault] = None
    for name, counts, expected in (
        ("bits and bytes", simulation.wire.totals[:2], alone.wire.totals[:2]),
        ("bytes of each client", simulation.wire.client_payload, alone.wire.client_payload),
        ("lengths of messages", simulation.wire.histogram, alone.wire.histogram),
    ):
        if not np.array_equal(counts, expected):
            reasons[f"the ledger's {name} differ from the ledger of the same rounds on one rank"] = None
    return _sending(simulation, rounds, lead), list(reasons)


def _sending(simulation: Simulation, rounds: Rounds, lead: int) -> int:
    """Return the number of rounds with a client that sends, among these rounds and the `lead` rounds before each."""
    if not simulation.configuration.compressor.may_be_absent:
        return len(rounds) * (lead + 1)
    everyone = np.zeros(simulation.configuration.clients, np.int64)
    arguments = simulation.kernels.compressor, np.uint64(SEED), len(everyone), everyone
    with compiling("senders", simulation.kernels.compressor), np.errstate(all="ignore"):
        return sum(int(count_sending(*arguments, round - lead, round + 1)) for round in rounds)


def _iterate_fault(w: Floats, expected: Floats, configuration: Configuration) -> str | None:
    """Return a sentence if the iterate differs from the one-rank iterate by more than the route allows, else None."""
    route, downlink = configuration.route, configuration.downlink
    if not route.sums_in_mpi or route.joint_messages:
        same, by = w.tobytes() == expected.tobytes(), ""
    elif downlink is None or downlink.linear:
        bits = downlink.value_bits if downlink else route.downlink_bits
        near = ROUNDING_TO_FLOAT16 if bits == 16 else ROUNDING
        same, by = np.allclose(w, expected, rtol=near, atol=near), ", by more than rounding"
    else:
        apart = np.linalg.norm(w - expected) / max(np.linalg.norm(expected), np.finfo(float).tiny)
        same, by = bool(apart <= ROUNDING_TO_LEVELS), f", by more than {ROUNDING_TO_LEVELS:.0%} of its norm"
    return None if same else f"the iterate differs from the iterate of the same rounds on one rank{by}"


def _message_faults(
    packed: NDArray[np.integer[Any]], booked: int, configuration: Configuration, dimension: int
) -> list[str]:
    """Return a sentence for each fault in the lengths of a round's messages."""
    most = configuration.route.payload_bytes(configuration.compressor, dimension, configuration.clients)
    fixed = configuration.compressor.fixed_length
    wrong = [size for size in packed.tolist() if size > most or (fixed and size < most)]
    reasons = [f"a message has {wrong[0]:,} bytes, but payload_bytes_max is {most:,}"] if wrong else []
    if packed.sum() != booked:
        reasons.append(f"the ledger counts {booked:,} bytes in a round, but {packed.sum():,} were packed")
    return reasons
