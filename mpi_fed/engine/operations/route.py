"""The operations of a route in the compiled round. Its kernel has a field `downlink` (`downlink.py`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..mpi_calls import Comm
from ..operation import by_name, operation
from ..schedule import Schedule
from ..wire import Wire
from .compressor import Vector

NOT_DEFINED = -1
"""Returned by `bare_uplink` if a route does not define it."""


class Round(NamedTuple):
    """The arguments of a round for a route on one rank.

    Attributes
    ----------
    number : int
        k, the number of the round.
    seed : uint64
        The seed of the repetition.
    size : int
        The number of bytes of this rank's packed messages.
    comm : Comm
        The communicator of all ranks.
    compressor : NamedTuple
        The kernel of the compressor.
    wire : Wire
        The buffers of messages, and the ledger of bits and bytes.
    schedule : Schedule
        The planned rounds, with the clients that take part.
    """

    number: int
    seed: np.uint64
    size: int
    comm: Comm
    compressor: Any
    wire: Wire
    schedule: Schedule


@operation(required=True)
def uplink(kernel: Any, round: Round, total: Vector) -> int:
    """Bring the packed messages of all ranks to the root, and decode and average them there.

    The root adds each decoded message, weighted 1/N, to `total`, enters it in the ledger (`enter`) and counts the bytes
    handed to MPI (`enter_transported`). If the route reaches all ranks, every rank decodes.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the route on this rank.
    round : Round
        The round, with the messages of this rank in `round.wire.send`.
    total : (d,) array of float64
        Zeros; on return, the mean of the messages at the root.

    Returns
    -------
    int
        MPI's error code, 0 for success.
    """
    raise NotImplementedError


@operation
def bare_uplink(kernel: Any, comm: Comm, wire: Wire, size: int) -> int:
    """Make only the MPI calls of `uplink`, for `mpi-fed bench`, outside of rounds.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the route on this rank.
    comm : Comm
        The communicator.
    wire : Wire
        The buffers, with the sizes of messages that the last round left.
    size : int
        The number of bytes of this rank's messages.

    Returns
    -------
    int
        MPI's error code, or NOT_DEFINED (the default).
    """
    return NOT_DEFINED


@operation
def overlaps(kernel: Any) -> bool:
    """Return whether messages are in transit while the next ones are made. If not, `begin_uplink` is never called."""
    return False


@operation
def begin_uplink(kernel: Any, round: Round) -> int:
    """Start to send the round's messages; `uplink` then waits for their arrival.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the route on this rank.
    round : Round
        The round; its messages are in `round.wire.send` from `start_of_messages` on.

    Returns
    -------
    int
        MPI's error code, 0 for success.
    """
    return 0


@operation
def progress_uplink(kernel: Any) -> int:
    """Let MPI continue the collective that `begin_uplink` started, and return MPI's error code."""
    return 0


OPERATIONS = by_name(uplink, bare_uplink, overlaps, begin_uplink, progress_uplink)
