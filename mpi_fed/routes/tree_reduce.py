"""Sums by way of leaders: MPI_Reduce to the first rank of each node, and of these sums to the root."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.compilation import inlined
from ..engine.mpi_calls import ROOT, reduce_sum
from ..engine.operations.downlink import Downlink
from ..engine.operations.route import RECEIVE, UPLINK, mark
from ..engine.random_streams import EVERYONE, Stream
from .base import Array, Place, routes
from .reduce import Reduce, add_up, decode_sum, numbers
from .tree import Grouped


class TreeReduceKernel(NamedTuple):
    downlink: Downlink  # its path is the tree
    bits: int
    sum: Array  # afterwards a leader's sum of its group, in the payload's floats
    values: Array
    dither: Array


@inlined
def collect(kernel, comm, wire, each):
    """The MPI calls of this route."""
    tree, relay = kernel.downlink.path, kernel.sum
    count, kind = numbers(kernel, comm, each)
    code = reduce_sum(tree.group, wire.send, relay, count, kind)
    if tree.leads and code == 0:
        code = reduce_sum(tree.leaders, relay, wire.receive, count, kind)
    return code


@routes.register
class TreeReduce(Grouped, Reduce):
    """One message a node reaches the root: the sum of its ranks', each the sum of its clients'."""

    kind = "tree-reduce"
    Kernel: ClassVar[type] = TreeReduceKernel

    def kernel_at(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        return self.kernel(compressor, dimension)._replace(downlink=self.downlink(dimension, self.tree(place.comm)))

    @staticmethod
    def uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total):
        stream = Stream(seed, EVERYONE, np.uint64(round))
        each = add_up(kernel, compressor, wire, wire.send, stream, size)
        code = collect(kernel, comm, wire, each)
        mark(wire.clock, RECEIVE)
        if comm.rank == ROOT and code == 0:
            wire.totals[UPLINK] += (comm.size + kernel.downlink.path.leaders.size) * each
            decode_sum(compressor, wire, jobs, stream, each, total)
        return code

    @staticmethod
    def bare(kernel, comm, wire, size):
        return collect(kernel, comm, wire, wire.sizes[0])
