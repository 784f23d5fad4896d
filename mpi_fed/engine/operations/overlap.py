"""Non-blocking collectives, which run while the next messages are made: the field `pending` of a route's kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compilation import Integer
from ..mpi_calls import Comm, no_request, start_gather, start_gatherv, start_reduce, test, wait
from ..operation import operation

Bytes = NDArray[np.uint8]
Counts = NDArray[np.int32]

STATUS_WORDS = 16
"""Number of int64 words that hold the MPI_Status of any MPI."""


class Blocking(NamedTuple):
    """A blocking uplink: no computation overlaps with it."""

    unused: int  # compiled code does not allow an empty tuple


class NonBlocking(NamedTuple):
    """A non-blocking uplink, with at most one collective in progress."""

    request: NDArray[np.int64]  # (1,): MPI's handle
    status: NDArray[np.int64]  # MPI's status, which is not read
    done: NDArray[np.int32]  # (1,)


BLOCKING = Blocking(0)
Pending = Blocking | NonBlocking


def non_blocking() -> NonBlocking:
    """Return a non-blocking uplink without a collective in progress."""
    return NonBlocking(np.array([no_request()], np.int64), np.zeros(STATUS_WORDS, np.int64), np.zeros(1, np.int32))


@operation
def is_non_blocking(pending: Any) -> bool:
    """Return whether the uplink is a non-blocking collective. If not, the other operations do nothing."""
    return False


@operation
def begin_gather(pending: Any, comm: Comm, send: Bytes, count: Integer, receive: Bytes, to_all: bool) -> int:
    """Start MPI_Igather, or MPI_Iallgather if `to_all`; return MPI's error code."""
    return 0


@operation
def begin_gatherv(
    pending: Any, comm: Comm, send: Bytes, count: Integer, receive: Bytes, counts: Counts, starts: Counts, to_all: bool
) -> int:
    """Start MPI_Igatherv, or MPI_Iallgatherv if `to_all`; return MPI's error code."""
    return 0


@operation
def begin_sum(
    pending: Any, comm: Comm, send: NDArray[Any], receive: NDArray[Any], count: Integer, kind: int, to_all: bool
) -> int:
    """Start MPI_Ireduce, or MPI_Iallreduce if `to_all`, with MPI_SUM; return MPI's error code."""
    return 0


@operation
def progress(pending: Any) -> int:
    """Let MPI continue the collective, as many MPI libraries do only inside MPI calls; return MPI's error code."""
    return 0


@operation
def complete(pending: Any) -> int:
    """Wait for the end of the collective; return MPI's error code."""
    return 0


@is_non_blocking.implement(NonBlocking)
def _is_non_blocking(pending: NonBlocking) -> bool:
    return True


@begin_gather.implement(NonBlocking)
def _begin_gather(pending: NonBlocking, comm: Comm, send: Bytes, count: Integer, receive: Bytes, to_all: bool) -> int:
    return start_gather(comm, send, count, receive, to_all, pending.request)


@begin_gatherv.implement(NonBlocking)
def _begin_gatherv(
    pending: NonBlocking,
    comm: Comm,
    send: Bytes,
    count: Integer,
    receive: Bytes,
    counts: Counts,
    starts: Counts,
    to_all: bool,
) -> int:
    return start_gatherv(comm, send, count, receive, counts, starts, to_all, pending.request)


@begin_sum.implement(NonBlocking)
def _begin_sum(
    pending: NonBlocking,
    comm: Comm,
    send: NDArray[Any],
    receive: NDArray[Any],
    count: Integer,
    kind: int,
    to_all: bool,
) -> int:
    return start_reduce(comm, send, receive, count, kind, to_all, pending.request)


@progress.implement(NonBlocking)
def _progress(pending: NonBlocking) -> int:
    return test(pending.request, pending.done, pending.status)


@complete.implement(NonBlocking)
def _complete(pending: NonBlocking) -> int:
    return wait(pending.request, pending.status)
