"""Route `tree-reduce`."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from ..compressors import Compressor
from ..engine.compilation import inlined
from ..engine.mpi_calls import ROOT, Comm, reduce_sum
from ..engine.operations.overlap import BLOCKING, Pending
from ..engine.operations.route import Round
from ..engine.phase_clock import UPLINK, mark
from ..engine.wire import UPLINK_BYTES, Wire
from .base import Array, Place, routes
from .reduce import Reduce, add_up, count_and_type, decode_sum
from .tree import Grouped, TreeDownlink


class TreeReduceKernel(NamedTuple):
    """Downlink and scratch space of `tree-reduce` in compiled code."""

    downlink: TreeDownlink
    bits: int  # bits of a float in the payload
    sum: Array  # (floats of a message,): on a leader, after the first MPI call, the group's sum, in floats of `bits`
    values: Array  # (floats of a message,): the floats of one message
    dither: Array  # (CHUNK,): scratch space
    pending: Pending = BLOCKING  # always, since this route does not overlap


@inlined
def collect(kernel: TreeReduceKernel, comm: Comm, wire: Wire, size: int) -> int:
    """Make the two MPI calls of `tree-reduce`; return MPI's error code."""
    tree, relay = kernel.downlink.path, kernel.sum
    count, kind = count_and_type(kernel, comm, size)
    code = reduce_sum(tree.group, wire.send, relay, count, kind)
    if tree.leads and code == 0:
        code = reduce_sum(tree.leaders, relay, wire.receive, count, kind)
    return code


@routes.register
class TreeReduce(Grouped, Reduce):
    """MPI_Reduce of messages to the first rank of each group, then of the groups' sums to the root.

    Parameters
    ----------
    group_size : int, default: the ranks of a node
        Number of ranks in a group, in the order of the ranks; by default the ranks of a node are a group.
    downlink_bits : {16, 32, 64}, default: 64
        Bits of the floats in which w is broadcast, 64 by default; 16 rounds at random.

    Notes
    -----
    The root receives one message from each group: the sum over the ranks of the group, each of which sends the sum of
    its clients' messages. Requirements and rounding are the same as for `reduce`. Bytes passed to MPI are counted on
    both levels.
    """

    kind = "tree-reduce"
    Kernel: ClassVar[Any] = TreeReduceKernel

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        downlink = self.downlink(dimension, self.tree(place.comm))
        return self.sum_kernel(compressor, dimension, downlink, BLOCKING)

    @staticmethod
    def uplink(kernel: Any, round: Round, total: Array) -> int:
        """Add up the messages on leaders, then on the root, and add the mean message to total (shape (d,))."""
        comm, wire = round.comm, round.wire
        size = add_up(kernel, round, wire.send)
        code = collect(kernel, comm, wire, size)
        mark(wire.clock, UPLINK)
        if comm.rank == ROOT and code == 0:
            wire.totals[UPLINK_BYTES] += (comm.size + kernel.downlink.path.leaders.size) * size
            decode_sum(round, size, total)
        return code

    @staticmethod
    def bare_uplink(kernel: Any, comm: Comm, wire: Wire, size: int) -> int:
        """Make only the MPI calls of `uplink`."""
        return collect(kernel, comm, wire, wire.sizes[0])
