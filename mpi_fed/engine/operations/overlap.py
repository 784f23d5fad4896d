"""A collective that travels while the next messages are made: a route's kernel holds it as `pending`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..mpi_calls import Comm, no_request, start_gather, start_gatherv, start_reduce, test, wait
from ..operation import operation

STATUS_WORDS = 16
"""int64 words that hold any MPI's MPI_Status."""


class Blocking(NamedTuple):
    """Nothing travels while anything is computed: the uplink is one blocking call."""

    unused: int  # compiled code knows no empty tuple


class NonBlocking(NamedTuple):
    """One collective under way, or none."""

    request: NDArray[np.int64]  # (1,): MPI's handle
    status: NDArray[np.int64]  # MPI's status, which is not read
    done: NDArray[np.int32]  # (1,)


BLOCKING = Blocking(0)
Pending = Blocking | NonBlocking


def non_blocking() -> NonBlocking:
    """Return a collective of which nothing is under way yet."""
    return NonBlocking(np.array([no_request()], np.int64), np.zeros(STATUS_WORDS, np.int64), np.zeros(1, np.int32))


@operation
def is_non_blocking(pending: Any) -> bool:
    """Return whether the uplink is a non-blocking collective. If not, the other operations do nothing."""
    return False


@operation
def begin_gather(pending: Any, comm: Comm, send: Any, count: np.int32, receive: Any, to_all: bool) -> int:
    """Start MPI_Igather, or MPI_Iallgather where `to_all`; return MPI's error code."""
    return 0


@operation
def begin_gatherv(
    pending: Any, comm: Comm, send: Any, count: np.int32, receive: Any, counts: Any, starts: Any, to_all: bool
) -> int:
    """Start MPI_Igatherv, or MPI_Iallgatherv where `to_all`; return MPI's error code."""
    return 0


@operation
def begin_sum(pending: Any, comm: Comm, send: Any, receive: Any, count: np.int32, kind: int, to_all: bool) -> int:
    """Start MPI_Ireduce, or MPI_Iallreduce where `to_all`, with MPI_SUM; return MPI's error code."""
    return 0


@operation
def progress(pending: Any) -> int:
    """Let MPI go on with it, as many do in their own calls alone; return MPI's error code."""
    return 0


@operation
def complete(pending: Any) -> int:
    """Wait until it has arrived; return MPI's error code."""
    return 0


@is_non_blocking.implement(NonBlocking)
def _is_non_blocking(pending):
    return True


@begin_gather.implement(NonBlocking)
def _begin_gather(pending, comm, send, count, receive, to_all):
    return start_gather(comm, send, count, receive, to_all, pending.request)


@begin_gatherv.implement(NonBlocking)
def _begin_gatherv(pending, comm, send, count, receive, counts, starts, to_all):
    return start_gatherv(comm, send, count, receive, counts, starts, to_all, pending.request)


@begin_sum.implement(NonBlocking)
def _begin_sum(pending, comm, send, receive, count, kind, to_all):
    return start_reduce(comm, send, receive, count, kind, to_all, pending.request)


@progress.implement(NonBlocking)
def _progress(pending):
    return test(pending.request, pending.done, pending.status)


@complete.implement(NonBlocking)
def _complete(pending):
    return wait(pending.request, pending.status)
