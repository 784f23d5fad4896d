"""MPI_Gather of payloads of one fixed length to the root."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.mpi_calls import allgather_bytes, gather_bytes
from ..engine.operations.compressor import decode
from ..engine.operations.downlink import Downlink, decodes, gathered, transported
from ..engine.operations.overlap import GROUNDED, Flight, Grounded, flies, gathers, land, nudge
from ..engine.operations.route import DECODE, RECEIVE, enter, mark, place_of
from ..engine.random_streams import Stream
from .base import Route, routes


class GatherKernel(NamedTuple):
    downlink: Downlink
    flight: Grounded | Flight = GROUNDED


@inlined
def collect(kernel, comm, wire):
    """The MPI call of this route, or of `allgather` where the kernel's downlink says so."""
    block = np.int32(wire.slots * wire.fixed_size)
    if gathered(kernel.downlink):
        return allgather_bytes(comm, wire.send, block, wire.receive)
    return gather_bytes(comm, wire.send, block, wire.receive)


@kernel
def decode_slots(comm, compressor, wire, jobs, round, seed, total):
    """total += the mean of the messages in wire.receive, where each rank has `slots` of one length."""
    each = wire.fixed_size
    weight = 1.0 / np.float64(jobs.clients)
    for rank in range(comm.size):
        for i in range(wire.hosts[rank], wire.hosts[rank + 1]):
            at = (rank * wire.slots + i - wire.hosts[rank]) * each
            stream = Stream(seed, np.uint64(i), np.uint64(round))
            decode(compressor, wire.receive[at : at + each], weight, total, stream)
            enter(wire, compressor, i, each)


@routes.register
class Gather(Route):
    """Every rank hands MPI_Gather as many slots as the fullest rank hosts clients; empty slots count as transported."""

    kind = "gather"
    Kernel: ClassVar[type] = GatherKernel
    may_overlap = True

    def check(self, compressor: Compressor) -> None:
        super().check(compressor)
        if not compressor.fixed_length:
            raise ValueError(
                f'route kind = "{self.kind}" carries payloads of one length, and those of {compressor.kind} vary; '
                f'give kind = "{self.kind}v"' + (' or "auto"' if self.kind == "gather" else "")
            )

    def kernel(self, compressor: Compressor, dimension: int) -> NamedTuple:
        return self.Kernel(self.downlink(dimension))

    @staticmethod
    def uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total):
        code = land(kernel.flight) if flies(kernel.flight) else collect(kernel, comm, wire)
        mark(wire.clock, RECEIVE)
        sent = comm.size * wire.slots * wire.fixed_size
        transported(kernel.downlink, comm, wire, sent, sent)
        if code == 0 and decodes(kernel.downlink, comm):
            decode_slots(comm, compressor, wire, jobs, round, seed, total)
            mark(wire.clock, DECODE)
        return code

    @staticmethod
    def overlaps(kernel):
        return flies(kernel.flight)

    @staticmethod
    def depart(kernel, comm, compressor, wire, jobs, round, seed, size):
        send, block = wire.send[place_of(wire, round) :], np.int32(wire.slots * wire.fixed_size)
        return gathers(kernel.flight, comm, send, block, wire.receive, gathered(kernel.downlink))

    @staticmethod
    def nudge_on(kernel):
        return nudge(kernel.flight)

    @staticmethod
    def bare(kernel, comm, wire, size):
        return collect(kernel, comm, wire)
