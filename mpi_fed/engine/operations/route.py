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
    """The arguments of a round for a route on one rank."""

    number: int  # k
    seed: np.uint64
    size: int  # bytes of this rank's packed messages
    comm: Comm
    compressor: Any  # its kernel
    wire: Wire
    schedule: Schedule


@operation(required=True)
def uplink(kernel: Any, round: Round, total: Vector) -> int:
    """Bring the packed messages of all ranks to the root, decode and average them there, and return MPI's error code.

    The root adds each decoded message, weighted 1/N, to `total`, (d,), enters it in the ledger (`enter`) and counts the
    bytes handed to MPI (`enter_transported`). If the route reaches all ranks, every rank decodes.
    """
    raise NotImplementedError


@operation
def bare_uplink(kernel: Any, comm: Comm, wire: Wire, size: int) -> int:
    """Make only the MPI calls of `uplink`, for `mpi-fed bench`, outside of rounds; return MPI's error code.

    The sizes are those that the last round left in the wire. The default returns NOT_DEFINED.
    """
    return NOT_DEFINED


@operation
def overlaps(kernel: Any) -> bool:
    """Return whether messages are in transit while the next ones are made. If not, `begin_uplink` is never called."""
    return False


@operation
def begin_uplink(kernel: Any, round: Round) -> int:
    """Start to send the round's messages, and return MPI's error code; `uplink` then waits for their arrival.

    The messages are in wire.send from `start_of_messages` on.
    """
    return 0


@operation
def progress_uplink(kernel: Any) -> int:
    """Let MPI continue the collective that `begin_uplink` started, and return MPI's error code."""
    return 0


OPERATIONS = by_name(uplink, bare_uplink, overlaps, begin_uplink, progress_uplink)
