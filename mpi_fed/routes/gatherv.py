"""MPI_Gatherv of payloads of any length to the root."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.mpi_calls import allgather_counts, allgatherv_bytes, gather_counts, gatherv_bytes
from ..engine.operations.compressor import decode, length
from ..engine.operations.downlink import Downlink, decodes, gathered, transported
from ..engine.operations.overlap import GROUNDED, Flight, Grounded, flies, gathers_any, land, nudge
from ..engine.operations.route import DECODE, RECEIVE, enter, mark, place_of
from ..engine.random_streams import Stream
from .base import Route, routes


class GathervKernel(NamedTuple):
    downlink: Downlink
    flight: Grounded | Flight = GROUNDED


@inlined
def collect_counts(kernel, comm, wire):
    """The first MPI call of this route, or of `allgatherv`, where counts travel."""
    if not wire.counted:
        return 0
    if gathered(kernel.downlink):
        return allgather_counts(comm, wire.sizes, wire.all_sizes)
    return gather_counts(comm, wire.sizes, wire.all_sizes)


@inlined
def prepare(kernel, comm, compressor, wire, jobs, round, seed):
    """Let whoever decodes know all lengths; MPI's error code."""
    code = collect_counts(kernel, comm, wire)
    if code == 0 and decodes(kernel.downlink, comm):
        lay_out(comm, compressor, wire, jobs, round, seed)
        mark(wire.clock, DECODE)  # the lengths come from drawing the masks
    return code


@inlined
def collect(kernel, comm, wire, size):
    """The second one, which brings the messages."""
    if gathered(kernel.downlink):
        return allgatherv_bytes(comm, wire.send, np.int32(size), wire.receive, wire.counts, wire.starts)
    return gatherv_bytes(comm, wire.send, np.int32(size), wire.receive, wire.counts, wire.starts)


@kernel
def lay_out(comm, compressor, wire, jobs, round, seed):
    """Fill wire.all_sizes, unless counts have come, and from it wire.counts and wire.starts."""
    at = round - jobs.window[0]
    wire.counts.fill(0)
    rank, slot = 0, 0
    for j in range(jobs.everyone_start[at], jobs.everyone_start[at + 1]):
        client = jobs.everyone[j]
        while client >= wire.hosts[rank + 1]:
            rank, slot = rank + 1, 0
        place = rank * wire.slots + slot
        if not wire.counted:
            size = wire.fixed_size
            if size < 0:
                size = length(compressor, Stream(seed, np.uint64(client), np.uint64(round)))
            wire.all_sizes[place] = size
        wire.counts[rank] += wire.all_sizes[place]
        slot += 1
    wire.starts[0] = 0
    for rank in range(1, comm.size):
        wire.starts[rank] = wire.starts[rank - 1] + wire.counts[rank - 1]


@kernel
def decode_in_order(compressor, wire, jobs, round, seed, total):
    """total += the mean of the messages in wire.receive, a rank's one after the other; their bytes."""
    planned = round - jobs.window[0]
    first, last = jobs.everyone_start[planned], jobs.everyone_start[planned + 1]
    weight = 1.0 / np.float64(jobs.clients)
    rank, slot, at, sent = 0, 0, np.int64(wire.starts[0]), np.int64(0)
    for j in range(first, last):
        client = jobs.everyone[j]
        while client >= wire.hosts[rank + 1]:
            rank, slot = rank + 1, 0
            at = np.int64(wire.starts[rank])
        each = wire.all_sizes[rank * wire.slots + slot]
        stream = Stream(seed, np.uint64(client), np.uint64(round))
        decode(compressor, wire.receive[at : at + each], weight, total, stream)
        enter(wire, compressor, client, each)
        at += each
        sent += each
        slot += 1
    return sent


@routes.register
class Gatherv(Route):
    """The root knows every length from the shared seed, so that no counts travel.

    Explicit indices are known to their sender alone: then an MPI_Gather of an int32 a client comes first, and counts
    as transported."""

    kind = "gatherv"
    Kernel: ClassVar[type] = GathervKernel
    may_overlap = True

    def kernel(self, compressor: Compressor, dimension: int) -> NamedTuple:
        return self.Kernel(self.downlink(dimension))

    @staticmethod
    def uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total):
        if flies(kernel.flight):
            code = land(kernel.flight)
        else:
            code = prepare(kernel, comm, compressor, wire, jobs, round, seed)
            if code == 0:
                code = collect(kernel, comm, wire, size)
        mark(wire.clock, RECEIVE)
        if code == 0 and decodes(kernel.downlink, comm):
            sent = decode_in_order(compressor, wire, jobs, round, seed, total)
            mark(wire.clock, DECODE)
            sent += 4 * len(wire.all_sizes) if wire.counted else 0
            transported(kernel.downlink, comm, wire, sent, sent)
        return code

    @staticmethod
    def overlaps(kernel):
        return flies(kernel.flight)

    @staticmethod
    def depart(kernel, comm, compressor, wire, jobs, round, seed, size):
        code = prepare(kernel, comm, compressor, wire, jobs, round, seed)
        if code != 0:
            return code
        send, everywhere = wire.send[place_of(wire, round) :], gathered(kernel.downlink)
        return gathers_any(
            kernel.flight, comm, send, np.int32(size), wire.receive, wire.counts, wire.starts, everywhere
        )

    @staticmethod
    def nudge_on(kernel):
        return nudge(kernel.flight)

    @staticmethod
    def bare(kernel, comm, wire, size):
        code = collect_counts(kernel, comm, wire)
        return collect(kernel, comm, wire, size) if code == 0 else code
