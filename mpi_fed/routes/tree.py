"""Route `tree`, and the base class of routes over groups of ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.leader_tree import Tree, free_tree, tree_of
from ..engine.mpi_calls import ROOT, Comm, gather_counts, gatherv_bytes
from ..engine.operations.route import Round
from ..engine.phase_clock import DECODE, UPLINK, mark
from ..engine.wire import UPLINK_BYTES, Wire
from .base import Array, Place, Route, routes
from .gatherv import decode_in_order, lay_out

if TYPE_CHECKING:
    from mpi4py import MPI

Counts = NDArray[np.int32]


class TreeDownlink(Protocol):
    """A downlink along the tree."""

    @property
    def path(self) -> Tree: ...


class TreeKernel(NamedTuple):
    """Downlink, buffers, counts and starts of `tree` in compiled code. Only leaders use the arrays."""

    downlink: TreeDownlink
    relay: NDArray[np.uint8]  # the messages of the leader's group
    counts: Counts  # (ranks of the group,): bytes of each rank's messages
    starts: Counts  # (ranks of the group,): index in `relay` of each rank's first byte
    group_counts: Counts  # (groups,): bytes of each group's messages; a leader other than the root uses only its own
    group_starts: Counts  # (groups,): index in the root's wire.receive of each group's first byte
    sizes: Counts  # (ranks of the group * max_clients_per_rank,): lengths of the group's messages, if exchanged
    all_sizes: Counts  # (ranks * max_clients_per_rank,): on the root, the `sizes` of all groups, one after the other
    size_counts: Counts  # (groups,): bytes of each group's `sizes`
    size_starts: Counts  # (groups,): index in the bytes of `all_sizes` of each group's first byte


class Grouped(Route):
    """Two levels: messages go to the leader of each group of ranks, then to the root. w is sent back the same way.

    This is the base class of routes over two levels.

    Parameters
    ----------
    group_size : int, default: the ranks of a node
        Number of ranks in a group, in the order of the ranks; by default the ranks of a node are a group.
    """

    group_size: int | None = Field(default=None, ge=1)
    """Number of consecutive ranks in a group. None means that the ranks of a node are a group."""

    may_overlap: ClassVar[bool] = False

    def split(self, comm: MPI.Comm) -> MPI.Comm:
        """Return the communicator of this rank's group, in the order of ranks."""
        if self.group_size:
            return comm.Split(comm.rank // self.group_size, comm.rank)
        from mpi4py import MPI

        return comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank)

    def tree(self, comm: MPI.Comm) -> Tree:
        """Return the communicators of groups and leaders. Every rank must call this."""
        return tree_of(comm, self.split(comm))

    def close(self, kernel: Any) -> None:
        free_tree(kernel.downlink.path)


@kernel
def spread(order: NDArray[np.int64], slots: int, sizes: Counts, all_sizes: Counts) -> None:
    """Copy `slots` sizes of each rank in `order`, which `sizes` holds in this order, to their places in all_sizes."""
    for p in range(len(order)):
        for slot in range(slots):
            all_sizes[order[p] * slots + slot] = sizes[p * slots + slot]


@kernel
def lay_out_groups(kernel: TreeKernel, tree: Tree, wire: Wire) -> None:
    """Compute wire.starts, and the counts and starts of all groups and of the ranks of this group, from wire.counts."""
    start = np.int64(0)
    for g in range(len(kernel.group_counts)):
        kernel.group_starts[g] = start
        for p in range(tree.bounds[g], tree.bounds[g + 1]):
            wire.starts[tree.order[p]] = start
            start += wire.counts[tree.order[p]]
        kernel.group_counts[g] = start - kernel.group_starts[g]
    first = tree.bounds[tree.number]
    for m in range(len(kernel.counts)):
        rank = tree.order[first + m]
        kernel.counts[m] = wire.counts[rank]
        kernel.starts[m] = wire.starts[rank] - kernel.group_starts[tree.number]


@inlined
def collect_lengths(kernel: TreeKernel, comm: Comm, wire: Wire) -> int:
    """Make the MPI calls that bring lengths to leaders and to the root, if only senders know the lengths.

    Returns MPI's error code.
    """
    tree = kernel.downlink.path
    if not wire.lengths_exchanged:
        return 0
    code = gather_counts(tree.group, wire.sizes, kernel.sizes)
    if tree.leads and code == 0:
        group = tree.order[tree.bounds[tree.number] : tree.bounds[tree.number + 1]]
        spread(group, wire.max_clients_per_rank, kernel.sizes, wire.all_sizes)
        lengths, all_lengths = kernel.sizes.view(np.uint8), kernel.all_sizes.view(np.uint8)
        count = np.int32(len(lengths))
        code = gatherv_bytes(tree.leaders, lengths, count, all_lengths, kernel.size_counts, kernel.size_starts)
        if comm.rank == ROOT:
            spread(tree.order, wire.max_clients_per_rank, kernel.all_sizes, wire.all_sizes)
    return code


@inlined
def collect(kernel: TreeKernel, wire: Wire, size: int) -> int:
    """Make the MPI calls that bring the messages to leaders and to the root; return MPI's error code."""
    tree = kernel.downlink.path
    code = gatherv_bytes(tree.group, wire.send, np.int32(size), kernel.relay, kernel.counts, kernel.starts)
    if tree.leads and code == 0:
        size = kernel.group_counts[tree.number]
        code = gatherv_bytes(tree.leaders, kernel.relay, size, wire.receive, kernel.group_counts, kernel.group_starts)
    return code


@routes.register
class TreeRoute(Grouped):
    """MPI_Gatherv to the first rank of each group, its leader, and from the leaders to the root.

    Parameters
    ----------
    group_size : int, default: the ranks of a node
        Number of ranks in a group, in the order of the ranks; by default the ranks of a node are a group.
    self_check : bool, default: False
        Whether messages carry checksums, which their receivers verify; by default they do not.
    downlink_bits : {16, 32, 64}, default: 64
        Bits of the floats in which w is broadcast, 64 by default; 16 rounds at random.

    Notes
    -----
    Leaders pass on the messages of their group, so as many bytes cross the network as with `gatherv`, but in one MPI
    message for each group. The root decodes in the order of clients, so the iterates equal those of `gather` bit for
    bit. Bytes passed to MPI are counted on both levels.
    """

    kind = "tree"
    Kernel: ClassVar[Any] = TreeKernel

    def scratch_bytes(self, message: int, dimension: int, hosted: int, received: int) -> int:
        """Return the memory, in bytes, of a rank's buffers, including the `relay` of all leaders on its machine."""
        return super().scratch_bytes(message, dimension, hosted, received) + message * received

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        tree = self.tree(place.comm)
        hosted, members = np.diff(place.hosts), np.diff(tree.bounds)
        group = tree.order[tree.bounds[tree.number] : tree.bounds[tree.number + 1]]
        most, ranks, groups = int(hosted.max()), len(hosted), len(members)
        relayed = place.longest * int(hosted[group].sum()) if tree.leads else 1
        kernel: NamedTuple = self.Kernel(
            downlink=self.downlink(dimension, tree),
            relay=np.zeros(max(1, relayed), np.uint8),
            counts=np.zeros(len(group), np.int32),
            starts=np.zeros(len(group), np.int32),
            group_counts=np.zeros(groups, np.int32),
            group_starts=np.zeros(groups, np.int32),
            sizes=np.zeros(most * len(group), np.int32),
            all_sizes=np.zeros(most * ranks, np.int32),
            size_counts=(4 * most * members).astype(np.int32),
            size_starts=(4 * most * tree.bounds[:-1]).astype(np.int32),
        )
        return kernel

    @staticmethod
    def uplink(kernel: TreeKernel, round: Round, total: Array) -> int:
        """Gather the messages on leaders, then on the root, and add the mean message to total (shape (d,))."""
        comm, wire, tree = round.comm, round.wire, kernel.downlink.path
        code = collect_lengths(kernel, comm, wire)
        if code != 0:
            return code
        if tree.leads:
            lay_out(round)
            lay_out_groups(kernel, tree, wire)
            mark(wire.clock, DECODE)
        code = collect(kernel, wire, round.size)
        mark(wire.clock, UPLINK)
        if comm.rank == ROOT and code == 0:
            sent = decode_in_order(round, total)
            mark(wire.clock, DECODE)
            sent += 4 * len(wire.all_sizes) if wire.lengths_exchanged else 0
            wire.totals[UPLINK_BYTES] += 2 * sent
        return code

    @staticmethod
    def bare_uplink(kernel: TreeKernel, comm: Comm, wire: Wire, size: int) -> int:
        """Make only the MPI calls of `uplink`."""
        code = collect_lengths(kernel, comm, wire)
        return collect(kernel, wire, size) if code == 0 else code
