"""Groups of ranks with one leader each: the communicators of routes that send messages through the leaders."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .mpi_calls import Comm, comm_of, disconnect

if TYPE_CHECKING:
    from mpi4py import MPI


class Tree(NamedTuple):
    """A tree of two levels: messages go from a rank to its leader and from leaders to the root, and w comes back."""

    group: Comm  # communicator of this rank's group, in the order of ranks; the leader has rank 0
    leaders: Comm  # communicator of the leaders, the root first; ranks that do not lead have an unused communicator
    leads: bool  # true if this rank leads its group
    number: int  # number of this rank's group: the rank of its leader in `leaders`
    order: NDArray[np.int64]  # (ranks,): all ranks, group by group
    bounds: NDArray[np.int64]  # (groups + 1,): group g is order[bounds[g] : bounds[g + 1]]


def tree_of(comm: MPI.Comm, group: MPI.Comm) -> Tree:
    """Return the tree over the groups into which `comm` was split, in the order of ranks. Every rank must call this."""
    leaders = comm.Split(0 if group.rank == 0 else 1, comm.rank)
    number = group.bcast(leaders.rank)
    numbers = np.array(comm.allgather(number))
    order = np.argsort(numbers, kind="stable").astype(np.int64)
    bounds = np.append(0, np.cumsum(np.bincount(numbers))).astype(np.int64)
    return Tree(comm_of(group), comm_of(leaders), group.rank == 0, number, order, bounds)


def free_tree(tree: Tree) -> None:
    """Free the communicators of the tree, which cannot be used afterwards. Every rank must call this."""
    disconnect(tree.leaders)
    disconnect(tree.group)
