"""One configuration on this rank: its kernels, buffers and state, advanced a stretch of rounds at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from ..algorithms.base import arrays_of
from ..algorithms.local_steps import local_steps_kernel
from ..compressors import Compressor
from ..engine.checksums import TRAILER, CheckedKernel, checked, complaint
from ..engine.compilation import compiling, kernel
from ..engine.mpi_calls import Comm, comm_of
from ..engine.operations.compressor import UNKNOWN, length
from ..engine.operations.downlink import CompressedBroadcast, compressed
from ..engine.operations.overlap import flight
from ..engine.operations.problem import jobs_of
from ..engine.operations.route import (
    DECODE,
    DECODE_DOWN,
    ENCODE,
    ENCODE_DOWN,
    HISTOGRAM_BINS,
    PHASES,
    ROUNDS,
    SLACK,
    TOO_LONG,
    TOO_MANY,
    Wire,
    snapshots_of,
)
from ..engine.random_streams import EVERYONE, INITIAL, Stream, normals, padded
from ..engine.round import Snapshots, State, advance
from ..errors import InputError, RunError
from ..log.schema import CLIENTS_LIMIT
from ..problems.population import Population
from ..routes.base import Place
from ..study.configuration import Configuration

JOBS_LIMIT = 10**7
"""Gradients that a rank may owe in one round: their list takes 16 bytes each."""


@kernel
def shared_length(compressor, client):
    """The length of a message as the shared stream tells it."""
    return length(compressor, Stream(np.uint64(0), np.uint64(client), np.uint64(0)))


@kernel
def draw_start(seed, out):
    """Fill out with the N(0,1) start of a repetition."""
    normals(Stream(seed, EVERYONE, np.uint64(0)), INITIAL, np.uint64(0), len(out), out)


def _counted(compressor: Compressor, packing: NamedTuple) -> bool:
    """Whether a message's length is its sender's alone to know."""
    if compressor.fixed_length:
        return False
    with compiling("length", packing), np.errstate(all="ignore"):
        return bool(shared_length(packing, 0) == UNKNOWN)


class Simulation:
    """The repetitions of one configuration. Every rank of `comm` makes one and calls the same methods."""

    def __init__(self, configuration: Configuration, population: Population, comm: MPI.Comm, rounds: Any) -> None:
        self.configuration, self.population = configuration, population
        self.comm = comm_of(comm)
        self.rounds = np.append(np.asarray(rounds, np.int64), np.int64(-1))
        d, n = population.dimension, configuration.clients
        hosts = np.array([n * r // comm.size for r in range(comm.size + 1)], np.int64)
        first, last = int(hosts[comm.rank]), int(hosts[comm.rank + 1])
        compressor, algorithm = configuration.compressor, configuration.algorithm
        if (last - first) * algorithm.local_steps > JOBS_LIMIT:
            raise InputError(
                f"[algorithm] local_steps = {algorithm.local_steps:,} for {last - first:,} clients on one rank is more "
                f"than {JOBS_LIMIT:,} gradients a round; lower it, or start more ranks"
            )
        self.omega = algorithm.step_omega(compressor, configuration.downlink, d)
        self.steps = algorithm.steps(self.omega, population.trace, configuration.rounds)
        problem = configuration.problem.kernel(population, first, last)
        if algorithm.local_steps > 1:
            problem = local_steps_kernel(problem, self.steps, d)
        place = Place(comm, hosts, self._longest(d))
        self.kernels = (
            problem,
            configuration.route.packing(place, compressor, d),
            self._memories(last - first),
            self._route(place, d),
        )
        self.jobs = jobs_of(first, last, n, algorithm.local_steps, 2 if self._overlaps else 1)
        self.wire = self._wire(hosts, d)
        self.state = self._state(d)
        held, passed = n if n <= CLIENTS_LIMIT else 0, snapshots_of(d)
        self.snapshots = Snapshots(
            self.rounds,
            np.zeros(2, np.int64),
            np.empty((passed, d)),
            np.empty((passed, d)),
            np.empty((passed, 4), np.int64),
            np.empty((passed, held), np.int64),
            np.empty(passed),
        )
        self.seed = np.uint64(0)
        self.done = 0

    def _memories(self, hosted: int) -> NamedTuple:
        """The algorithm's kernel for so many clients: their memories know of the uplink's omega alone."""
        algorithm, d = self.configuration.algorithm, self.population.dimension
        return algorithm.kernel(d, algorithm.omega_of(self.configuration.compressor, d), self.steps, hosted)

    def _route(self, place: Place, d: int) -> NamedTuple:
        """The route's kernel, with the study's own downlink in the place of the route's where there is one."""
        route: Any = self.configuration.route.kernel_at(place, self.configuration.compressor, d)
        if self._overlaps:
            route = route._replace(flight=flight())
        compressor = self.configuration.downlink
        if compressor is None:
            return route
        packing = compressor.kernel(d)
        if self.configuration.route.self_check:
            packing = checked(packing, d)
        counted, most = _counted(compressor, packing), compressor.payload_bytes_max(d) + self._trailer
        fixed = most if compressor.fixed_length else -1
        downlink = compressed(route.downlink.path, packing, fixed, counted, most)
        return route._replace(downlink=downlink)

    @property
    def _overlaps(self) -> bool:
        """Messages travel while the next are made, so that two rounds' are held."""
        return self.configuration.route.overlapping(self.configuration.algorithm)

    @property
    def _trailer(self) -> int:
        """Bytes of a message's checksums."""
        return TRAILER if self.configuration.route.self_check else 0

    def _longest(self, d: int) -> int:
        """Bytes of the longest message of a client, its checksums included."""
        compressor, clients = self.configuration.compressor, self.configuration.clients
        return self.configuration.route.payload_bytes(compressor, d, clients) + self._trailer

    def _wire(self, hosts: NDArray[np.int64], d: int) -> Wire:
        compressor, size = self.configuration.compressor, self.comm.size
        most = self._longest(d)
        longest = most - self._trailer
        slots = int(np.diff(hosts).max())
        hosted = int(hosts[self.comm.rank + 1] - hosts[self.comm.rank])
        fixed, room = compressor.fixed_length, compressor.participants_max(self.configuration.clients)
        route, clients = self.configuration.route, self.configuration.clients
        received = route.received(compressor, clients, size) if self.comm.rank == 0 or route.reaches_all_ranks else 0
        counted = _counted(compressor, self.kernels[1])
        grain = -(-(longest + 1) // HISTOGRAM_BINS)
        held = most * (slots if fixed else min(hosted, room)) + SLACK
        return Wire(
            most,
            room,
            most if fixed else -1,
            int(compressor.payload_bits(d)) if fixed else -1,
            counted,
            slots,
            hosts,
            held if self._overlaps else 0,
            np.zeros(held * (2 if self._overlaps else 1), np.uint8),
            np.zeros(max(1, most * received), np.uint8),
            np.zeros(slots, np.int32),
            np.zeros(slots * size, np.int32),
            np.zeros(size, np.int32),
            np.zeros(size, np.int32),
            np.zeros(4, np.int64),
            np.zeros(self.configuration.clients, np.int64),
            np.zeros(longest // grain + 1, np.int64),
            grain,
            np.zeros(12),
        )

    def _state(self, d: int) -> State:
        algorithm = self.configuration.algorithm
        start = algorithm.averaging_start(self.configuration.rounds)
        w, average, total, g = np.zeros((4, d))
        model = np.zeros(d) if self.configuration.route.downlink_bits else w
        overflow = np.full(2, -1, np.int64)
        at = np.zeros(d) if algorithm.delayed else model
        return State(
            w, model, at, algorithm.delayed, average, total, g, start, algorithm.always_updates, np.zeros(2), overflow
        )

    def compile(self) -> None:
        """Compile the loop, or load it: the first process on this cache compiles, the others wait."""
        with compiling("round", *self.kernels), np.errstate(all="ignore"):
            draw_start(np.uint64(0), np.empty(padded(len(self.state.w))))
            self._advance(0, 0, comm_of(MPI.COMM_SELF))  # the others may be waiting for the lock

    def close(self) -> None:
        """Free what this simulation has of MPI, if anything. Every rank calls it, at the end of all that went well."""
        self.configuration.route.close(self.kernels[3])

    def start(self, seed: int) -> None:
        """Begin the repetition of this seed: w_0, empty memories, an empty average, an empty ledger."""
        self.seed, self.done = np.uint64(seed), 0
        self._set_start()
        held = self.state.sum, self.state.seconds, self.wire.totals, self.wire.clock
        for array in (*held, *arrays_of(self.kernels[2]).values()):
            array[...] = 0
        self.wire.client_payload[:] = 0
        self.wire.histogram[:] = 0
        self.state.overflow[:] = -1
        # Numbers of jobs never come again: what was drawn ahead for another repetition is not taken for this one's.
        self.jobs.window[:] = 0, 0, self.jobs.window[2] + len(self.jobs.client)
        self.snapshots.cursor[0] = np.searchsorted(self.rounds[:-1], 1)  # log point 0 is the start itself
        self.snapshots.cursor[1] = 0

    def roots_arrays(self) -> dict[str, NDArray[Any]]:
        """What the root holds of a repetition in progress, by name; views, to be saved or set."""
        wire, state = self.wire, self.state
        ledger = {"totals": wire.totals, "client_payload": wire.client_payload, "histogram": wire.histogram}
        own = {"w": state.w, "sum": state.sum, "seconds": state.seconds, **ledger}
        if state.model is not state.w:
            own["model"] = state.model
        if state.delayed:
            own["at"] = state.at
        clients = self.clients_arrays()
        return own | {name: array for name, array in arrays_of(self.kernels[2]).items() if name not in clients}

    def clients_arrays(self) -> dict[str, NDArray[Any]]:
        """What this rank holds of it for each of its clients, a row a client; views.

        Of the algorithm's arrays they are those whose length is the number of clients."""
        one, two = (arrays_of(self._memories(hosted)) for hosted in (1, 2))
        shared = {name for name, array in one.items() if array.shape == two[name].shape}
        return {name: array for name, array in arrays_of(self.kernels[2]).items() if name not in shared}

    def go_to(self, done: int) -> None:
        """Stand after so many rounds of the repetition that was started; what they left is set by the caller."""
        self.done = done
        self.snapshots.cursor[0] = np.searchsorted(self.rounds[:-1], done + 1)

    def wrong_message(self) -> str | None:
        """What this rank found wrong with a message, where messages are checked."""
        route: Any = self.kernels[3]
        down = route.downlink
        for packing in (self.kernels[1], down.compressor if isinstance(down, CompressedBroadcast) else None):
            if isinstance(packing, CheckedKernel) and (found := complaint(packing)):
                return found
        return None

    def phase_seconds(self) -> NDArray[np.float64]:
        """Mean seconds a round of each phase on this rank, (7,), over the rounds timed."""
        clock = self.wire.clock
        seconds = clock[: len(PHASES)].copy()
        seconds[[ENCODE, DECODE]] += clock[[ENCODE_DOWN, DECODE_DOWN]]
        return seconds / clock[ROUNDS] if clock[ROUNDS] else np.full(len(PHASES), np.nan)

    def _set_start(self) -> None:
        start = self.configuration.algorithm.start_vector(len(self.state.w))
        if start is None:
            drawn = np.empty(padded(len(self.state.w)))
            draw_start(self.seed, drawn)
            self.state.w[:] = drawn[: len(self.state.w)]
        else:
            self.state.w[:] = start
        self.state.model[:] = self.state.w
        self.state.at[:] = self.state.w

    def advance(self, stop: int) -> None:
        """Do the rounds up to `stop`; the root then holds a snapshot of every log point passed since the last call."""
        self.snapshots.cursor[1] = 0
        with np.errstate(all="ignore"):
            code = self._advance(self.done, stop, self.comm)
        if code == TOO_LONG:
            raise RunError(
                f"{self.configuration.label}: a message of more than the {self.wire.longest:,} bytes that the "
                f"compressor's payload_bytes_max gives was packed; mend its encode or its payload_bytes_max"
            )
        if code == TOO_MANY:
            raise RunError(
                f"{self.configuration.label}: more clients take part in a round than the {self.wire.room:,} that the "
                f"compressor's participants_max gives; mend that"
            )
        if code != 0:
            raise RuntimeError(f"an MPI call failed: {MPI.Get_error_string(code)}")
        self.done = stop

    def _advance(self, start: int, stop: int, comm: Comm) -> int:
        return advance(
            *self.kernels, comm, self.wire, self.jobs, self.state, self.snapshots, start, stop, self.seed
        )
