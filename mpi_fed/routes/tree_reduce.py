"""Sums by way of leaders: MPI_Reduce to the first rank of each node, and of these sums to the root."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from ..compressors import Compressor
from ..engine.compilation import inlined
from ..engine.mpi_calls import ROOT, reduce_sum
from ..engine.operations.downlink import Downlink
from ..engine.operations.overlap import BLOCKING, Pending
from ..engine.phase_clock import UPLINK, mark
from ..engine.wire import UPLINK_BYTES
from .base import Array, Place, routes
from .reduce import Reduce, add_up, count_and_type, decode_sum
from .tree import Grouped


class TreeReduceKernel(NamedTuple):
    downlink: Downlink  # its path is the tree
    bits: int
    sum: Array  # afterwards a leader's sum of its group, in the payload's floats
    values: Array
    dither: Array
    pending: Pending = BLOCKING  # always: this route does not overlap


@inlined
def collect(kernel, comm, wire, size):
    """The MPI calls of this route."""
    tree, relay = kernel.downlink.path, kernel.sum
    count, kind = count_and_type(kernel, comm, size)
    code = reduce_sum(tree.group, wire.send, relay, count, kind)
    if tree.leads and code == 0:
        code = reduce_sum(tree.leaders, relay, wire.receive, count, kind)
    return code


@routes.register
class TreeReduce(Grouped, Reduce):
    """One message a node reaches the root: the sum of its ranks', each the sum of its clients'."""

    kind = "tree-reduce"
    Kernel: ClassVar[Any] = TreeReduceKernel

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        downlink = self.downlink(dimension, self.tree(place.comm))
        return self.sum_kernel(compressor, dimension, downlink, BLOCKING)

    @staticmethod
    def uplink(kernel, round, total):
        comm, wire = round.comm, round.wire
        size = add_up(kernel, round, wire.send)
        code = collect(kernel, comm, wire, size)
        mark(wire.clock, UPLINK)
        if comm.rank == ROOT and code == 0:
            wire.totals[UPLINK_BYTES] += (comm.size + kernel.downlink.path.leaders.size) * size
            decode_sum(round, size, total)
        return code

    @staticmethod
    def bare_uplink(kernel, comm, wire, size):
        return collect(kernel, comm, wire, wire.sizes[0])
