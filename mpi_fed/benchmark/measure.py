"""On the ranks: timed rounds of the loop beside the bare collectives, and the same rounds again on one rank.

The loop itself times every round whose number is a multiple of TIMED. So it is called for such rounds one by one, with
a few untimed ones before each, and what its clock has gained is that round's sample. Bare collectives follow on each
timed round, so that whatever slows the machine down slows both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from ..engine.compilation import COMPILED, compiling, kernel
from ..engine.mpi_calls import barrier, comm_of, wtime
from ..engine.operations.compressor import participants
from ..engine.operations.downlink import bare_downlink
from ..engine.operations.route import NOT_DEFINED, bare_uplink
from ..engine.phase_clock import TIMED
from ..engine.phases import STEPS
from ..engine.schedule import place_of_round
from ..engine.wire import DOWNLINK_BYTES, PAYLOAD_BYTES, UPLINK_BYTES
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
"""Timed rounds that are thrown away at the start."""
LEAD, LEAD_SHARE = 10, 100_000
"""Untimed rounds before each timed one, LEAD_SHARE / d, but 1 to LEAD: caches are then as in a run."""
ROUNDING = 1e-4
"""How far an iterate may differ, relatively or absolutely, where float32 numbers are summed in another order."""
OF_HALVES = 2.0**-9
"""The same where w comes back in float16: numbers that differ a little may be rounded to neighbours, 2^-10 apart."""
LEVELS = 0.05
"""How far it may differ, relatively in norm, where the sum is rounded to levels, now and then to the next one."""
TRIES = 10**7
"""Rounds among which those are looked for in which somebody sends."""

Rounds = NDArray[np.int64]


@kernel
def sending_rounds(compressor, seed, clients, everyone, rounds):
    """rounds <- the first rounds that the loop times, but 0, in which anybody sends; how many there are."""
    count = 0
    for i in range(1, TRIES):
        if count == len(rounds):
            break
        if participants(compressor, seed, np.uint64(TIMED * i), clients, everyone) > 0:
            rounds[count] = TIMED * i
            count += 1
    return count


@kernel
def count_sending(compressor, seed, clients, everyone, start, stop):
    """How many of the rounds start <= k < stop are such in which anybody sends."""
    count = 0
    for k in range(start, stop):
        if participants(compressor, seed, np.uint64(k), clients, everyone) > 0:
            count += 1
    return count


@kernel
def as_after_encoding(wire, walked, size):
    """Leave the caches as a round has them where its uplink begins: vectors walked through, messages just written."""
    for j in range(len(walked)):
        walked[j] += 1.0  # to fill it with one number may go past the caches
    for _ in range(2):  # and back
        for i in range(size):
            wire.send[i] ^= np.uint8(255)


@kernel
def bare_round(route, comm, wire, schedule, w, walked, round, repeats, seconds):
    """The collectives of the last round, `repeats` times; seconds <- the last one's uplink and downlink."""
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
    """Measure each configuration; the root gets the measurements, the others nothing."""
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
    """Samples of one configuration, and what is wrong with it; None on all ranks but the root."""
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
    wire, sending, reasons = simulation.wire, 1, []
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
    """Of a float of w on its way back; None where w does not travel."""
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


def _bare_arguments(simulation: Simulation, numbers: int, comm: object = None) -> tuple:
    """`numbers`: how many are walked through beforehand."""
    route, w, vectors = simulation.kernels.route, simulation.state.w, np.zeros(numbers)
    return route, comm or simulation.comm, simulation.wire, simulation.schedule, w, vectors


def _samples(simulation: Simulation, rounds: Rounds, lead: int) -> tuple[NDArray, NDArray, bool]:
    """Of each round the seconds of every step, (rounds, 9), and of its bare collectives, (rounds, 2), if there are."""
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
    """Whether this rank has the root's iterate, as the downlink has rounded it."""
    roots = simulation.state.model.copy()
    world.comm.Bcast(roots)
    return roots.tobytes() == simulation.state.model.tobytes()


def _compare_with_one_rank(
    simulation: Simulation, population: Population, rounds: Rounds, lead: int
) -> tuple[int, list[str]]:
    """The rounds in which anybody sent, and in what they differ from the same rounds on one rank by the plain route."""
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
    for what, counts, expected in (
        ("bits and bytes", simulation.wire.totals[:2], alone.wire.totals[:2]),
        ("bytes of each client", simulation.wire.client_payload, alone.wire.client_payload),
        ("lengths of messages", simulation.wire.histogram, alone.wire.histogram),
    ):
        if not np.array_equal(counts, expected):
            reasons[f"the ledger's {what} are not those of the same rounds on one rank"] = None
    return _sending(simulation, rounds, lead), list(reasons)


def _sending(simulation: Simulation, rounds: Rounds, lead: int) -> int:
    """Among these rounds, each with the `lead` before it, those in which anybody sends."""
    if not simulation.configuration.compressor.may_be_absent:
        return len(rounds) * (lead + 1)
    everyone = np.zeros(simulation.configuration.clients, np.int64)
    arguments = simulation.kernels.compressor, np.uint64(SEED), len(everyone), everyone
    with compiling("senders", simulation.kernels.compressor), np.errstate(all="ignore"):
        return sum(int(count_sending(*arguments, round - lead, round + 1)) for round in rounds)


def _iterate_fault(w: NDArray, expected: NDArray, configuration: Configuration) -> str | None:
    """What is wrong with the iterate, if it is not that of one rank."""
    route, downlink = configuration.route, configuration.downlink
    if not route.sums_in_mpi or route.joint_messages:
        same, but = w.tobytes() == expected.tobytes(), "bit for bit"
    elif downlink is None or downlink.linear:
        bits = downlink.value_bits if downlink else route.downlink_bits
        near = OF_HALVES if bits == 16 else ROUNDING
        same, but = np.allclose(w, expected, rtol=near, atol=near), "but for rounding"
    else:
        apart = np.linalg.norm(w - expected) / max(np.linalg.norm(expected), np.finfo(float).tiny)
        same, but = bool(apart <= LEVELS), "but for levels that rounding has moved"
    return None if same else f"the iterate is not, {but}, that of the same rounds on one rank"


def _message_faults(packed: NDArray, booked: int, configuration: Configuration, dimension: int) -> list[str]:
    """What is wrong with the bytes of a round's messages."""
    most = configuration.route.payload_bytes(configuration.compressor, dimension, configuration.clients)
    fixed = configuration.compressor.fixed_length
    wrong = [size for size in packed.tolist() if size > most or (fixed and size < most)]
    reasons = [f"a message of {wrong[0]:,} bytes was packed, where payload_bytes_max says {most:,}"] if wrong else []
    if packed.sum() != booked:
        reasons.append(f"the ledger has {booked:,} bytes for a round in which {packed.sum():,} were packed")
    return reasons
