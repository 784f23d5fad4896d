"""Route `gatherv`."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.ledger import enter
from ..engine.mpi_calls import Comm, allgather_counts, allgatherv_bytes, gather_counts, gatherv_bytes
from ..engine.operations.compressor import Message, decode, length
from ..engine.operations.downlink import Downlink, decodes_here, enter_transported, uplink_reaches_all
from ..engine.operations.overlap import BLOCKING, Pending, begin_gatherv, complete, is_non_blocking
from ..engine.operations.route import Round
from ..engine.phase_clock import DECODE, UPLINK, mark
from ..engine.random_streams import Stream
from ..engine.schedule import place_of_round
from ..engine.wire import Wire, start_of_messages
from .base import Array, Overlapping, Place, routes


class GathervKernel(NamedTuple):
    """Downlink and pending collective of `gatherv` in compiled code."""

    downlink: Downlink
    pending: Pending = BLOCKING


@inlined
def collect_lengths(kernel: GathervKernel, comm: Comm, wire: Wire) -> int:
    """Make the MPI call that exchanges lengths, if only the senders know the lengths; return MPI's error code."""
    if not wire.lengths_exchanged:
        return 0
    if uplink_reaches_all(kernel.downlink):
        return allgather_counts(comm, wire.sizes, wire.all_sizes)
    return gather_counts(comm, wire.sizes, wire.all_sizes)


@inlined
def prepare(kernel: GathervKernel, round: Round) -> int:
    """Compute or exchange the lengths of all messages, for the ranks that decode; return MPI's error code."""
    code = collect_lengths(kernel, round.comm, round.wire)
    if code == 0 and decodes_here(kernel.downlink, round.comm):
        lay_out(round)
        mark(round.wire.clock, DECODE)  # to compute the lengths, masks are drawn as for decoding
    return code


@inlined
def collect(kernel: GathervKernel, comm: Comm, wire: Wire, size: int) -> int:
    """Make the MPI call that brings the messages; return MPI's error code."""
    if uplink_reaches_all(kernel.downlink):
        return allgatherv_bytes(comm, wire.send, np.int32(size), wire.receive, wire.counts, wire.starts)
    return gatherv_bytes(comm, wire.send, np.int32(size), wire.receive, wire.counts, wire.starts)


@kernel
def lay_out(round: Round) -> None:
    """Compute wire.counts and wire.starts from wire.all_sizes, after filling it unless lengths were exchanged."""
    wire, schedule = round.wire, round.schedule
    place = place_of_round(schedule, round.number)
    wire.counts.fill(0)
    rank, slot = 0, 0
    for j in range(schedule.participants_start[place], schedule.participants_start[place + 1]):
        client = schedule.participants[j]
        while client >= wire.hosts[rank + 1]:
            rank, slot = rank + 1, 0
        position = rank * wire.max_clients_per_rank + slot
        if not wire.lengths_exchanged:
            size = wire.fixed_size
            if size < 0:
                stream = Stream(round.seed, np.uint64(client), np.uint64(round.number))
                size = length(round.compressor, Message(stream, schedule.clients, 0))
            wire.all_sizes[position] = size
        wire.counts[rank] += wire.all_sizes[position]
        slot += 1
    wire.starts[0] = 0
    for rank in range(1, round.comm.size):
        wire.starts[rank] = wire.starts[rank - 1] + wire.counts[rank - 1]


@kernel
def decode_in_order(round: Round, total: Array) -> np.int64:
    """total += the mean of the messages in wire.receive, added up in the order of clients; total has shape (d,).

    Returns the number of bytes of the messages.
    """
    wire, schedule = round.wire, round.schedule
    place = place_of_round(schedule, round.number)
    first, last = schedule.participants_start[place], schedule.participants_start[place + 1]
    weight = 1.0 / np.float64(schedule.clients)
    rank, slot, start, sent = 0, 0, np.int64(wire.starts[0]), np.int64(0)
    for j in range(first, last):
        client = schedule.participants[j]
        while client >= wire.hosts[rank + 1]:
            rank, slot = rank + 1, 0
            start = np.int64(wire.starts[rank])
        size = wire.all_sizes[rank * wire.max_clients_per_rank + slot]
        message = Message(Stream(round.seed, np.uint64(client), np.uint64(round.number)), schedule.clients, 0)
        decode(round.compressor, wire.receive[start : start + size], weight, total, message)
        enter(wire, round.compressor, client, size)
        start += size
        sent += size
        slot += 1
    return sent


@routes.register
class Gatherv(Overlapping):
    """MPI_Gatherv of payloads of any length to the root.

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
    An MPI_Bcast of w follows. The root computes all lengths from the shared seed, so lengths are not sent. With
    explicit indices only the sender knows the length, so an MPI_Gather of one int32 for each client comes first and
    counts as transported bytes.
    """

    kind = "gatherv"
    Kernel: ClassVar[Any] = GathervKernel

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        kernel: NamedTuple = self.Kernel(self.downlink(dimension), self.pending(place))
        return kernel

    @staticmethod
    def uplink(kernel: GathervKernel, round: Round, total: Array) -> int:
        """Gather all messages, or wait until they have arrived, and add the mean message to total (shape (d,))."""
        wire = round.wire
        if is_non_blocking(kernel.pending):
            code = complete(kernel.pending)
        else:
            code = prepare(kernel, round)
            if code == 0:
                code = collect(kernel, round.comm, wire, round.size)
        mark(wire.clock, UPLINK)
        if code == 0 and decodes_here(kernel.downlink, round.comm):
            sent = decode_in_order(round, total)
            mark(wire.clock, DECODE)
            sent += 4 * len(wire.all_sizes) if wire.lengths_exchanged else 0
            enter_transported(kernel.downlink, round, sent, sent)
        return code

    @staticmethod
    def begin_uplink(kernel: GathervKernel, round: Round) -> int:
        """Exchange lengths if necessary, then start MPI_Igatherv or MPI_Iallgatherv."""
        code = prepare(kernel, round)
        if code != 0:
            return code
        wire, to_all = round.wire, uplink_reaches_all(kernel.downlink)
        send, count = wire.send[start_of_messages(wire, round.number) :], np.int32(round.size)
        return begin_gatherv(kernel.pending, round.comm, send, count, wire.receive, wire.counts, wire.starts, to_all)

    @staticmethod
    def bare_uplink(kernel: GathervKernel, comm: Comm, wire: Wire, size: int) -> int:
        """Make only the MPI calls of `uplink`."""
        code = collect_lengths(kernel, comm, wire)
        return collect(kernel, comm, wire, size) if code == 0 else code
