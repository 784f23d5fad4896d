"""Route `reduce`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.ledger import enter
from ..engine.mpi_calls import Comm, allreduce_sum, reduce_sum
from ..engine.operations.compressor import Bytes, Message, decode, length
from ..engine.operations.downlink import Downlink, decodes_here, enter_transported, uplink_reaches_all
from ..engine.operations.overlap import BLOCKING, Pending, begin_sum, complete, is_non_blocking
from ..engine.operations.route import Round
from ..engine.phase_clock import DECODE, ENCODE, UPLINK, mark
from ..engine.random_streams import EVERYONE, Stream
from ..engine.wire import Wire, start_of_messages
from ..engine.wire_floats import CHUNK, pack, unpack
from .base import Array, Overlapping, Place, routes

if TYPE_CHECKING:
    from .tree_reduce import TreeReduceKernel


class ReduceKernel(NamedTuple):
    """Downlink, scratch space and pending collective of `reduce` in compiled code."""

    downlink: Downlink
    bits: int  # bits of a float in the payload
    sum: Array  # (floats of a message,): the sum of this rank's messages
    values: Array  # (floats of a message,): the floats of one message
    dither: Array  # (CHUNK,): scratch space
    pending: Pending = BLOCKING


@inlined
def count_and_type(kernel: ReduceKernel | TreeReduceKernel, comm: Comm, size: int) -> tuple[np.int32, int]:
    """Return the number of floats in a message of `size` bytes, and their MPI type."""
    return np.int32(8 * size // kernel.bits), comm.float64 if kernel.bits == 64 else comm.float32


@inlined
def collect(kernel: ReduceKernel, comm: Comm, wire: Wire, size: int) -> int:
    """Make the MPI call of `reduce`, or of `allreduce` if the uplink reaches all ranks; return MPI's error code."""
    count, kind = count_and_type(kernel, comm, size)
    if uplink_reaches_all(kernel.downlink):
        return allreduce_sum(comm, wire.send, wire.receive, count, kind)
    return reduce_sum(comm, wire.send, wire.receive, count, kind)


@inlined
def common_message(round: Round) -> Message:
    """Return the message header that all clients share in a round, with the random numbers of the common mask."""
    return Message(Stream(round.seed, EVERYONE, np.uint64(round.number)), round.schedule.clients, 0)


@inlined
def message_size(round: Round) -> int:
    """Return the number of bytes of each message of the round."""
    wire = round.wire
    return wire.fixed_size if wire.fixed_size >= 0 else length(round.compressor, common_message(round))


@kernel
def add_up(kernel: ReduceKernel | TreeReduceKernel, round: Round, send: Bytes) -> int:
    """Replace the first message in `send` by the sum of all messages in it; return the number of bytes of the sum.

    The sum is computed in float64 and rounded once.
    """
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
def decode_sum(round: Round, size: int, total: Array) -> None:
    """total += 1/N times the sum in wire.receive, and enter the message of every client in the ledger."""
    wire, clients = round.wire, round.schedule.clients
    decode(round.compressor, wire.receive[:size], 1.0 / np.float64(clients), total, common_message(round))
    for client in range(clients):
        enter(wire, round.compressor, client, size)
    mark(wire.clock, DECODE)


@routes.register
class Reduce(Overlapping):
    """MPI_Reduce: MPI adds up the messages, and the root decodes only their sum.

    Parameters
    ----------
    downlink_bits : {16, 32, 64}, default: 64
        Bits of the floats in which w is broadcast, 64 by default; 16 rounds at random.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next gradients are computed; by default they do with `delayed-sgd`.

    Notes
    -----
    An MPI_Bcast of w follows. Each rank adds its clients' messages in float64, rounds once, and sends one message.

    The compressor must be `summable`: `none`, or `bernoulli`, `rand-h` or `sketch` with `mask = "common"`. Checksums
    and floats of 16 bits are not supported.

    The order in which MPI adds, and so the rounding of the iterates, depends on the MPI library and on the number of
    ranks.
    """

    kind = "reduce"
    sums_in_mpi = True
    Kernel: ClassVar[Any] = ReduceKernel

    def check(self, compressor: Compressor) -> None:
        super().check(compressor)
        if self.self_check:
            raise ValueError(f'route kind = "{self.kind}" cannot add up messages with checksums; give kind = "gather"')
        if not compressor.summable:
            raise ValueError(
                f'route kind = "{self.kind}" adds up messages, but messages of {compressor.kind} cannot be added up; '
                f'give kind = "auto"' + (', or mask = "common"' if "mask" in type(compressor).model_fields else "")
            )
        if compressor.value_bits == 16:
            raise ValueError(f'route kind = "{self.kind}": MPI cannot add floats of 16 bits; give value_bits = 32')

    def scratch_bytes(self, message: int, dimension: int, hosted: int, received: int) -> int:
        """Return the memory, in bytes, of a rank's sum and of one message that is added to the sum."""
        return 16 * dimension

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        return self.sum_kernel(compressor, dimension, self.downlink(dimension), self.pending(place))

    def sum_kernel(self, compressor: Compressor, dimension: int, downlink: Downlink, pending: Pending) -> NamedTuple:
        """Return the kernel of this rank, with room for one sum."""
        bits = compressor.value_bits
        sums, values = np.zeros((2, 8 * compressor.payload_bytes_max(dimension) // bits))
        kernel: NamedTuple = self.Kernel(
            downlink=downlink, bits=bits, sum=sums, values=values, dither=np.empty(CHUNK), pending=pending
        )
        return kernel

    @staticmethod
    def uplink(kernel: ReduceKernel, round: Round, total: Array) -> int:
        """Add up the messages, or wait for their sum, and add the mean message to total (shape (d,))."""
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
    def begin_uplink(kernel: ReduceKernel, round: Round) -> int:
        """Add up this rank's messages, then start MPI_Ireduce or MPI_Iallreduce."""
        wire, to_all = round.wire, uplink_reaches_all(kernel.downlink)
        send = wire.send[start_of_messages(wire, round.number) :]
        count, kind = count_and_type(kernel, round.comm, add_up(kernel, round, send))
        return begin_sum(kernel.pending, round.comm, send, wire.receive, count, kind, to_all)

    @staticmethod
    def bare_uplink(kernel: ReduceKernel, comm: Comm, wire: Wire, size: int) -> int:
        """Make only the MPI call of `uplink`."""
        return collect(kernel, comm, wire, wire.sizes[0])
