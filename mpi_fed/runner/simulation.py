"""Simulate one configuration on this rank: its kernels, buffers and state, advanced by several rounds at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from ..algorithms.base import arrays_of
from ..algorithms.local_steps import local_steps_kernel
from ..compressors import Compressor
from ..engine.checksums import TRAILER, CheckedKernel, checked, fault_found
from ..engine.compilation import compiling, kernel
from ..engine.mpi_calls import Comm, comm_of
from ..engine.operations.compressor import UNKNOWN, Message, length
from ..engine.operations.downlink import CompressedBroadcast, Path, compressed_broadcast
from ..engine.phase_clock import new_clock, seconds_a_round
from ..engine.random_streams import EVERYONE, INITIAL, Stream, normals, padded
from ..engine.round import HELD, NEXT_POINT, TOO_LONG, TOO_MANY, Kernels, Snapshots, State, advance, snapshots_of
from ..engine.schedule import empty_schedule, forget
from ..engine.wire import HISTOGRAM_BINS, SLACK, Wire
from ..errors import InputError, RunError
from ..log.schema import CLIENTS_LIMIT
from ..problems.population import Population
from ..routes.base import Place
from ..study.configuration import Configuration

JOBS_LIMIT = 10**7
"""Largest number of gradients on one rank in one round; the list of gradients takes 16 bytes for each."""


@kernel
def shared_length(compressor: NamedTuple, clients: int) -> int:
    """Return the bytes of client 0's first message if the shared random numbers determine them, else UNKNOWN."""
    return length(compressor, Message(Stream(np.uint64(0), np.uint64(0), np.uint64(0)), clients, 0))


@kernel
def draw_start(seed: np.uint64, out: NDArray[np.float64]) -> None:
    """Fill `out`, whose length is `padded(d)`, with the N(0, 1) start of a repetition."""
    normals(Stream(seed, EVERYONE, np.uint64(0)), INITIAL, np.uint64(0), len(out), out)


def only_senders_know_lengths(compressor: Compressor, compressor_kernel: NamedTuple, clients: int) -> bool:
    """Return whether only the senders know the lengths of messages, so that lengths must be exchanged."""
    if compressor.fixed_length:
        return False
    with compiling("length", compressor_kernel), np.errstate(all="ignore"):
        return bool(shared_length(compressor_kernel, clients) == UNKNOWN)


class Simulation:
    """The repetitions of one configuration. Every rank of `comm` makes a Simulation and calls the same methods.

    Raises InputError if a rank would have more than JOBS_LIMIT gradients in a round.
    """

    def __init__(self, configuration: Configuration, population: Population, comm: MPI.Comm, rounds: Any) -> None:
        self.configuration, self.population = configuration, population
        self.comm = comm_of(comm)
        self.rounds = np.append(np.asarray(rounds, np.int64), np.int64(-1))
        d, n = population.dimension, configuration.clients
        hosts = np.array([n * r // comm.size for r in range(comm.size + 1)], np.int64)
        first, last = int(hosts[comm.rank]), int(hosts[comm.rank + 1])
        compressor, algorithm, route = configuration.compressor, configuration.algorithm, configuration.route
        if (last - first) * algorithm.local_steps > JOBS_LIMIT:
            raise InputError(
                f"[algorithm] local_steps = {algorithm.local_steps:,} for {last - first:,} clients on one rank makes "
                f"more than {JOBS_LIMIT:,} gradients a round; lower local_steps, or start more ranks"
            )
        self.omega = algorithm.step_omega(compressor, configuration.downlink, d)
        self.steps = algorithm.steps(self.omega, population.trace, configuration.rounds)
        problem = configuration.problem.kernel(population, first, last)
        if algorithm.local_steps > 1:
            problem = local_steps_kernel(problem, self.steps, d)
        place = Place(comm, hosts, self._longest(d), route.overlapping(algorithm))
        self.kernels = Kernels(
            problem=problem,
            compressor=route.compressor_kernel(place, compressor, d),
            algorithm=self._algorithm_kernel(last - first),
            route=self._route_kernel(place, d),
        )
        self.schedule = empty_schedule(first, last, n, algorithm.local_steps, 2 if place.overlaps else 1)
        self.wire = self._wire(place, d)
        self.state = self._state(d)
        self.snapshots = self._snapshots(d)
        self.seed = np.uint64(0)
        self.done = 0

    def _algorithm_kernel(self, hosted: int) -> NamedTuple:
        """Return the algorithm's kernel for `hosted` clients on this rank.

        The rate of the memories depends only on the uplink's omega.
        """
        algorithm, d = self.configuration.algorithm, self.population.dimension
        omega = algorithm.omega_of(self.configuration.compressor, d)
        parameters = algorithm.kernel(d, omega, self.steps, hosted, self.configuration.clients)
        own: NamedTuple = algorithm.own_kernel(parameters)
        return own

    def _route_kernel(self, place: Place, d: int) -> NamedTuple:
        """Return the route's kernel; a `[[downlink]]` of the study replaces the route's downlink."""
        chosen, compressor = self.configuration.route, self.configuration.downlink
        route: Any = chosen.own_kernel(chosen.kernel(place, self.configuration.compressor, d))
        if compressor is not None:
            route = route._replace(downlink=self._downlink(route.downlink.path, compressor, d))
        own: NamedTuple = route
        return own

    def _downlink(self, path: Path, compressor: Compressor, d: int) -> CompressedBroadcast:
        """Return the downlink that broadcasts messages of this compressor along a route's path."""
        compressor_kernel = compressor.own_kernel(compressor.kernel(d))
        if self.configuration.route.self_check:
            compressor_kernel = checked(compressor_kernel, d)
        longest = compressor.payload_bytes_max(d) + self._trailer
        return compressed_broadcast(
            path=path,
            compressor=compressor_kernel,
            fixed_size=longest if compressor.fixed_length else -1,
            length_sent=only_senders_know_lengths(compressor, compressor_kernel, 1),
            longest=longest,
        )

    @property
    def _trailer(self) -> int:
        """Number of bytes of a message's checksums."""
        return TRAILER if self.configuration.route.self_check else 0

    def _longest(self, d: int) -> int:
        """Return the bytes of a client's longest message, its checksums included."""
        compressor, clients = self.configuration.compressor, self.configuration.clients
        return self.configuration.route.payload_bytes(compressor, d, clients) + self._trailer

    def _wire(self, place: Place, d: int) -> Wire:
        compressor, route, clients = self.configuration.compressor, self.configuration.route, self.configuration.clients
        hosts, ranks, rank, fixed = place.hosts, self.comm.size, self.comm.rank, compressor.fixed_length
        most, hosted = int(np.diff(hosts).max()), int(hosts[rank + 1] - hosts[rank])
        max_messages = compressor.participants_max(clients)
        received = route.received(compressor, clients, ranks) if rank == 0 or route.reaches_all_ranks else 0
        payload = place.longest - self._trailer
        grain = -(-(payload + 1) // HISTOGRAM_BINS)
        bytes_a_round = place.longest * (most if fixed else min(hosted, max_messages)) + SLACK
        return Wire(
            longest=place.longest,
            max_messages=max_messages,
            fixed_size=place.longest if fixed else -1,
            fixed_bits=int(compressor.payload_bits(d)) if fixed else -1,
            lengths_exchanged=only_senders_know_lengths(compressor, self.kernels.compressor, clients),
            max_clients_per_rank=most,
            hosts=hosts,
            stride=bytes_a_round if place.overlaps else 0,
            send=np.zeros(bytes_a_round * (2 if place.overlaps else 1), np.uint8),
            receive=np.zeros(max(1, place.longest * received), np.uint8),
            sizes=np.zeros(most, np.int32),
            all_sizes=np.zeros(most * ranks, np.int32),
            counts=np.zeros(ranks, np.int32),
            starts=np.zeros(ranks, np.int32),
            totals=np.zeros(4, np.int64),
            client_payload=np.zeros(clients, np.int64),
            histogram=np.zeros(payload // grain + 1, np.int64),
            grain=grain,
            clock=new_clock(),
        )

    def _state(self, d: int) -> State:
        algorithm = self.configuration.algorithm
        w, average, total, g = np.zeros((4, d))
        model = np.zeros(d) if self.configuration.route.downlink_bits else w
        return State(
            w=w,
            model=model,
            gradient_point=np.zeros(d) if algorithm.delayed else model,
            delayed=algorithm.delayed,
            iterate_sum=average,
            total=total,
            g=g,
            averaging_start=algorithm.averaging_start(self.configuration.rounds),
            always_updates=algorithm.always_updates,
            seconds=np.zeros(2),
            overflow=np.full(2, -1, np.int64),
        )

    def _snapshots(self, d: int) -> Snapshots:
        clients, most = self.configuration.clients, snapshots_of(d)
        return Snapshots(
            rounds=self.rounds,
            cursor=np.zeros(2, np.int64),
            iterate=np.empty((most, d)),
            average=np.empty((most, d)),
            totals=np.empty((most, 4), np.int64),
            client_payload=np.empty((most, clients if clients <= CLIENTS_LIMIT else 0), np.int64),
            seconds=np.empty(most),
        )

    def compile(self) -> None:
        """Compile the loop, or load it from the cache: one process compiles, the others wait."""
        with compiling("round", *self.kernels), np.errstate(all="ignore"):
            draw_start(np.uint64(0), np.empty(padded(len(self.state.w))))
            self._advance(0, 0, comm_of(MPI.COMM_SELF))  # no collective: other ranks may be waiting for the lock

    def close(self) -> None:
        """Free the communicators of the route, if any. Every rank calls it after a run without errors."""
        self.configuration.route.close(self.kernels.route)

    def start(self, seed: int) -> None:
        """Begin the repetition of this seed: set w_0, and set memories, average and ledger to zero."""
        self.seed, self.done = np.uint64(seed), 0
        self._set_start()
        wire = self.wire
        ledger = wire.totals, wire.client_payload, wire.histogram, wire.clock
        for array in (self.state.iterate_sum, self.state.seconds, *ledger, *arrays_of(self.kernels.algorithm).values()):
            array[...] = 0
        self.state.overflow[:] = -1
        forget(self.schedule)
        self.snapshots.cursor[NEXT_POINT] = np.searchsorted(self.rounds[:-1], 1)  # log point 0 is the start
        self.snapshots.cursor[HELD] = 0

    def roots_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the root's arrays of a repetition in progress, by name: views, to be saved or set."""
        wire, state = self.wire, self.state
        ledger = {"totals": wire.totals, "client_payload": wire.client_payload, "histogram": wire.histogram}
        arrays = {"w": state.w, "sum": state.iterate_sum, "seconds": state.seconds, **ledger}
        if state.model is not state.w:
            arrays["model"] = state.model
        if state.delayed:
            arrays["at"] = state.gradient_point  # this name is part of the checkpoint's format
        clients = self.clients_arrays()
        return arrays | {name: each for name, each in arrays_of(self.kernels.algorithm).items() if name not in clients}

    def clients_arrays(self) -> dict[str, NDArray[Any]]:
        """Return this rank's arrays with one row for each of its clients, by name: views, to be saved or set.

        These are the algorithm's arrays whose length is the number of clients.
        """
        of_one, of_two = (arrays_of(self._algorithm_kernel(hosted)) for hosted in (1, 2))
        shared = {name for name, array in of_one.items() if array.shape == of_two[name].shape}
        return {name: array for name, array in arrays_of(self.kernels.algorithm).items() if name not in shared}

    def go_to(self, done: int) -> None:
        """Continue the repetition after `done` rounds; the caller sets the arrays to their state after these rounds."""
        self.done = done
        self.snapshots.cursor[NEXT_POINT] = np.searchsorted(self.rounds[:-1], done + 1)

    def wrong_message(self) -> str | None:
        """Return the fault that this rank found in a message, or None. Only messages with checksums are checked."""
        downlink = self.kernels.route.downlink
        down = downlink.compressor if isinstance(downlink, CompressedBroadcast) else None
        for compressor in (self.kernels.compressor, down):
            if isinstance(compressor, CheckedKernel) and (fault := fault_found(compressor)):
                return fault
        return None

    def phase_seconds(self) -> NDArray[np.float64]:
        """Return the mean seconds of each of the 7 phases in a round on this rank, over the timed rounds."""
        return seconds_a_round(self.wire.clock)

    def _set_start(self) -> None:
        start = self.configuration.algorithm.start_vector(len(self.state.w))
        if start is None:
            drawn = np.empty(padded(len(self.state.w)))
            draw_start(self.seed, drawn)
            self.state.w[:] = drawn[: len(self.state.w)]
        else:
            self.state.w[:] = start
        self.state.model[:] = self.state.w
        self.state.gradient_point[:] = self.state.w

    def advance(self, stop: int) -> None:
        """Compute the rounds up to `stop`. The root then holds a snapshot of each log point since the last call.

        Raises RunError if a compressor packs more bytes, or has more participants, than it declares.
        """
        self.snapshots.cursor[HELD] = 0
        with np.errstate(all="ignore"):
            code = self._advance(self.done, stop, self.comm)
        if code == TOO_LONG:
            raise RunError(
                f"{self.configuration.label}: a message is longer than the {self.wire.longest:,} bytes that the "
                f"compressor's payload_bytes_max gives; fix its encode or its payload_bytes_max"
            )
        if code == TOO_MANY:
            raise RunError(
                f"{self.configuration.label}: more clients take part in a round than the {self.wire.max_messages:,} "
                f"that the compressor's participants_max gives; fix its participants_max"
            )
        if code != 0:
            raise RuntimeError(f"an MPI call failed: {MPI.Get_error_string(code)}")
        self.done = stop

    def _advance(self, start: int, stop: int, comm: Comm) -> int:
        code: int = advance(
            self.kernels, comm, self.wire, self.schedule, self.state, self.snapshots, start, stop, self.seed
        )
        return code
