"""MPI_Reduce: messages are added up on their way, so that the root decodes their sum alone."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.ledger import enter
from ..engine.mpi_calls import allreduce_sum, reduce_sum
from ..engine.operations.compressor import Message, decode, length
from ..engine.operations.downlink import Downlink, decodes_here, enter_transported, uplink_reaches_all
from ..engine.operations.overlap import BLOCKING, Pending, begin_sum, complete, is_non_blocking
from ..engine.phase_clock import DECODE, ENCODE, UPLINK, mark
from ..engine.random_streams import EVERYONE, Stream
from ..engine.wire import start_of_messages
from ..engine.wire_floats import CHUNK, pack, unpack
from .base import Array, Overlapping, Place, routes


class ReduceKernel(NamedTuple):
    downlink: Downlink
    bits: int  # of a float in the payload
    sum: Array
    values: Array
    dither: Array
    pending: Pending = BLOCKING


@inlined
def count_and_type(kernel, comm, size):
    """How many numbers a message of `size` bytes has, and their MPI type."""
    return np.int32(8 * size // kernel.bits), comm.float64 if kernel.bits == 64 else comm.float32


@inlined
def collect(kernel, comm, wire, size):
    """The MPI call of this route, or of `allreduce`, where the kernel's downlink says so."""
    count, kind = count_and_type(kernel, comm, size)
    if uplink_reaches_all(kernel.downlink):
        return allreduce_sum(comm, wire.send, wire.receive, count, kind)
    return reduce_sum(comm, wire.send, wire.receive, count, kind)


@inlined
def common_message(round):
    """What all clients' messages of a round have in common: their masks are drawn for everyone."""
    return Message(Stream(round.seed, EVERYONE, np.uint64(round.number)), round.schedule.clients, 0)


@inlined
def message_size(round):
    """Bytes of every message of the round."""
    wire = round.wire
    return wire.fixed_size if wire.fixed_size >= 0 else length(round.compressor, common_message(round))


@kernel
def add_up(kernel, round, send):
    """The sum of the messages in `send`, in float64 and then rounded once, in place of the first; its bytes."""
    size = message_size(round)
    if round.size > size:
        sums, values = kernel.sum[: 8 * size // kernel.bits], kernel.values[: 8 * size // kernel.bits]
        sums.fill(0.0)
        for start in range(0, round.size, size):
            unpack(send[start : start + size], kernel.bits, values)
            for j in range(len(values)):
                sums[j] += values[j]
        pack(sums, kernel.bits, send, common_message(round).stream, kernel.dither)
    mark(round.wire.clock, ENCODE)
    return size


@kernel
def decode_sum(round, size, total):
    """total += the sum in wire.receive over N; every client enters the ledger with the message that it gave."""
    wire, clients = round.wire, round.schedule.clients
    decode(round.compressor, wire.receive[:size], 1.0 / np.float64(clients), total, common_message(round))
    for client in range(clients):
        enter(wire, round.compressor, client, size)
    mark(wire.clock, DECODE)


@routes.register
class Reduce(Overlapping):
    """Each rank sends one message, the sum of its clients'.

    In which order MPI adds, and so how it rounds, depends on the MPI and on the number of ranks.
    """

    kind = "reduce"
    sums_in_mpi = True
    Kernel: ClassVar[Any] = ReduceKernel

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

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        return self.sum_kernel(compressor, dimension, self.downlink(dimension), self.pending(place))

    def sum_kernel(self, compressor: Compressor, dimension: int, downlink: Downlink, pending: Pending) -> NamedTuple:
        """The kernel, with room for one sum."""
        bits = compressor.value_bits
        sums, values = np.zeros((2, 8 * compressor.payload_bytes_max(dimension) // bits))
        return self.Kernel(
            downlink=downlink, bits=bits, sum=sums, values=values, dither=np.empty(CHUNK), pending=pending
        )

    @staticmethod
    def uplink(kernel, round, total):
        comm, wire = round.comm, round.wire
        if is_non_blocking(kernel.pending):
            size, code = message_size(round), complete(kernel.pending)
        else:
            size = add_up(kernel, round, wire.send)
            code = collect(kernel, comm, wire, size)
        mark(wire.clock, UPLINK)
        enter_transported(kernel.downlink, round, comm.size * size, size)
        if code == 0 and decodes_here(kernel.downlink, comm):
            decode_sum(round, size, total)
        return code

    @staticmethod
    def begin_uplink(kernel, round):
        wire, to_all = round.wire, uplink_reaches_all(kernel.downlink)
        send = wire.send[start_of_messages(wire, round.number) :]
        count, kind = count_and_type(kernel, round.comm, add_up(kernel, round, send))
        return begin_sum(kernel.pending, round.comm, send, wire.receive, count, kind, to_all)

    @staticmethod
    def bare_uplink(kernel, comm, wire, size):
        return collect(kernel, comm, wire, wire.sizes[0])
