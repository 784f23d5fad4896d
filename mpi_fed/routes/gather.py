"""Route `gather`."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.ledger import enter
from ..engine.mpi_calls import Comm, allgather_bytes, gather_bytes
from ..engine.operations.compressor import Message, decode
from ..engine.operations.downlink import Downlink, decodes_here, enter_transported, uplink_reaches_all
from ..engine.operations.overlap import BLOCKING, Pending, begin_gather, complete, is_non_blocking
from ..engine.operations.route import Round
from ..engine.phase_clock import DECODE, UPLINK, mark
from ..engine.random_streams import Stream
from ..engine.wire import Wire, start_of_messages
from .base import Array, Overlapping, Place, routes


class GatherKernel(NamedTuple):
    """Downlink and pending collective of `gather` in compiled code."""

    downlink: Downlink
    pending: Pending = BLOCKING


@inlined
def bytes_per_rank(wire: Wire) -> int:
    """Return the number of bytes that each rank passes to MPI: one slot for each client of the fullest rank."""
    return wire.max_clients_per_rank * wire.fixed_size


@inlined
def collect(kernel: GatherKernel, comm: Comm, wire: Wire) -> int:
    """Make the MPI call of `gather`, or of `allgather` if the uplink reaches all ranks; return MPI's error code."""
    count = np.int32(bytes_per_rank(wire))
    if uplink_reaches_all(kernel.downlink):
        return allgather_bytes(comm, wire.send, count, wire.receive)
    return gather_bytes(comm, wire.send, count, wire.receive)


@kernel
def decode_slots(round: Round, total: Array) -> None:
    """total += the mean of the messages in wire.receive, in equally many slots of equal length for each rank.

    total has shape (d,).
    """
    wire, clients, size = round.wire, round.schedule.clients, round.wire.fixed_size
    weight = 1.0 / np.float64(clients)
    for rank in range(round.comm.size):
        for i in range(wire.hosts[rank], wire.hosts[rank + 1]):
            start = (rank * wire.max_clients_per_rank + i - wire.hosts[rank]) * size
            message = Message(Stream(round.seed, np.uint64(i), np.uint64(round.number)), clients, 0)
            decode(round.compressor, wire.receive[start : start + size], weight, total, message)
            enter(wire, round.compressor, i, size)


@routes.register
class Gather(Overlapping):
    """MPI_Gather of payloads of equal length to the root.

    Parameters
    ----------
    self_check : bool, default: False
        Whether messages carry checksums, which their receivers verify; by default they do not.
    downlink_bits : {16, 32, 64}, default: 64
        Bits of the floats in which w is broadcast, 64 by default; 16 rounds at random.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next gradients are computed; by default they do with `delayed-sgd`.

    Notes
    -----
    An MPI_Bcast of w follows. Every rank passes equally many slots, with room for one payload each, to MPI_Gather: as
    many as the fullest rank hosts clients. Empty slots count as transported bytes. Compressors whose payloads vary in
    length (`fixed_length` is False) are refused.
    """

    kind = "gather"
    Kernel: ClassVar[Any] = GatherKernel

    def check(self, compressor: Compressor) -> None:
        super().check(compressor)
        if not compressor.fixed_length:
            raise ValueError(
                f'route kind = "{self.kind}" needs payloads of equal length, but the length varies for '
                f'{compressor.kind}; give kind = "{self.kind}v"' + (' or "auto"' if self.kind == "gather" else "")
            )

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        kernel: NamedTuple = self.Kernel(self.downlink(dimension), self.pending(place))
        return kernel

    @staticmethod
    def uplink(kernel: GatherKernel, round: Round, total: Array) -> int:
        """Gather all slots, or wait until they have arrived, and add the mean message to total (shape (d,))."""
        wire = round.wire
        code = complete(kernel.pending) if is_non_blocking(kernel.pending) else collect(kernel, round.comm, wire)
        mark(wire.clock, UPLINK)
        sent = round.comm.size * bytes_per_rank(wire)
        enter_transported(kernel.downlink, round, sent, sent)
        if code == 0 and decodes_here(kernel.downlink, round.comm):
            decode_slots(round, total)
            mark(wire.clock, DECODE)
        return code

    @staticmethod
    def begin_uplink(kernel: GatherKernel, round: Round) -> int:
        """Start MPI_Igather or MPI_Iallgather of the slots."""
        wire, to_all = round.wire, uplink_reaches_all(kernel.downlink)
        send, count = wire.send[start_of_messages(wire, round.number) :], np.int32(bytes_per_rank(wire))
        return begin_gather(kernel.pending, round.comm, send, count, wire.receive, to_all)

    @staticmethod
    def bare_uplink(kernel: GatherKernel, comm: Comm, wire: Wire, size: int) -> int:
        """Make only the MPI call of `uplink`."""
        return collect(kernel, comm, wire)
