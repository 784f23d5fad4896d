"""MPI_Reduce: messages are added up on their way, so that the root decodes their sum alone."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.mpi_calls import allreduce_sum, reduce_sum
from ..engine.operations.compressor import decode, length
from ..engine.operations.downlink import Downlink, decodes, gathered, transported
from ..engine.operations.overlap import GROUNDED, Flight, Grounded, adds_up, flies, land, nudge
from ..engine.operations.route import DECODE, ENCODE, RECEIVE, enter, mark, place_of
from ..engine.random_streams import EVERYONE, Stream
from ..engine.wire_floats import CHUNK, pack, unpack
from .base import Array, Route, routes


class ReduceKernel(NamedTuple):
    downlink: Downlink
    bits: int  # of a float in the payload
    sum: Array
    values: Array
    dither: Array
    flight: Grounded | Flight = GROUNDED


@inlined
def numbers(kernel, comm, each):
    """How many numbers a message of so many bytes has, and of which MPI type."""
    return np.int32(8 * each // kernel.bits), comm.float64 if kernel.bits == 64 else comm.float32


@inlined
def collect(kernel, comm, wire, each):
    """The MPI call of this route, or of `allreduce`, where the kernel's downlink says so."""
    count, kind = numbers(kernel, comm, each)
    if gathered(kernel.downlink):
        return allreduce_sum(comm, wire.send, wire.receive, count, kind)
    return reduce_sum(comm, wire.send, wire.receive, count, kind)


@inlined
def bytes_of_each(compressor, wire, stream):
    """Of every message of the round."""
    return wire.fixed_size if wire.fixed_size >= 0 else length(compressor, stream)


@kernel
def add_up(kernel, compressor, wire, send, stream, size):
    """The sum of the messages in `send`, in float64 and then rounded once, in place of the first; its bytes."""
    each = bytes_of_each(compressor, wire, stream)
    if size > each:
        sums, values = kernel.sum[: 8 * each // kernel.bits], kernel.values[: 8 * each // kernel.bits]
        sums.fill(0.0)
        for at in range(0, size, each):
            unpack(send[at : at + each], kernel.bits, values)
            for j in range(len(values)):
                sums[j] += values[j]
        pack(sums, kernel.bits, send, stream, kernel.dither)
    mark(wire.clock, ENCODE)
    return each


@kernel
def decode_sum(compressor, wire, jobs, stream, each, total):
    """total += the sum in wire.receive over N; every client enters the ledger with the message that it gave."""
    decode(compressor, wire.receive[:each], 1.0 / np.float64(jobs.clients), total, stream)
    for client in range(jobs.clients):
        enter(wire, compressor, client, each)
    mark(wire.clock, DECODE)


@routes.register
class Reduce(Route):
    """Each rank sends one message, the sum of its clients'.

    In which order MPI adds, and so how it rounds, depends on the MPI and on the number of ranks."""

    kind = "reduce"
    sums_in_mpi = True
    may_overlap = True
    Kernel: ClassVar[type] = ReduceKernel

    def check(self, compressor: Compressor) -> None:
        super().check(compressor)
        if self.self_check:
            raise ValueError(f'route kind = "{self.kind}" adds messages up, and checksums do not add; give "gather"')
        if not compressor.summable:
            raise ValueError(
                f'route kind = "{self.kind}" adds messages up, which those of {compressor.kind} are not made for; '
                f'give kind = "auto"' + (', or mask = "common"' if "mask" in type(compressor).model_fields else "")
            )
        if compressor.value_bits == 16:
            raise ValueError(f'route kind = "{self.kind}": MPI adds no floats of 16 bits; give value_bits = 32')

    def scratch_bytes(self, message: int, dimension: int, hosted: int, received: int) -> int:
        """A rank's sum, and what it adds to it."""
        return 16 * dimension

    def kernel(self, compressor: Compressor, dimension: int) -> NamedTuple:
        bits = compressor.value_bits
        sums, values = np.zeros((2, 8 * compressor.payload_bytes_max(dimension) // bits))
        return self.Kernel(self.downlink(dimension), bits, sums, values, np.empty(CHUNK))

    @staticmethod
    def uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total):
        stream = Stream(seed, EVERYONE, np.uint64(round))
        if flies(kernel.flight):
            each, code = bytes_of_each(compressor, wire, stream), land(kernel.flight)
        else:
            each = add_up(kernel, compressor, wire, wire.send, stream, size)
            code = collect(kernel, comm, wire, each)
        mark(wire.clock, RECEIVE)
        transported(kernel.downlink, comm, wire, comm.size * each, each)
        if code == 0 and decodes(kernel.downlink, comm):
            decode_sum(compressor, wire, jobs, stream, each, total)
        return code

    @staticmethod
    def overlaps(kernel):
        return flies(kernel.flight)

    @staticmethod
    def depart(kernel, comm, compressor, wire, jobs, round, seed, size):
        send = wire.send[place_of(wire, round) :]
        each = add_up(kernel, compressor, wire, send, Stream(seed, EVERYONE, np.uint64(round)), size)
        count, kind = numbers(kernel, comm, each)
        return adds_up(kernel.flight, comm, send, wire.receive, count, kind, gathered(kernel.downlink))

    @staticmethod
    def nudge_on(kernel):
        return nudge(kernel.flight)

    @staticmethod
    def bare(kernel, comm, wire, size):
        return collect(kernel, comm, wire, wire.sizes[0])
