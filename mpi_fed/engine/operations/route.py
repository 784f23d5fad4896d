"""What a route does inside the compiled round. Its kernel has a field `downlink`, the way back (`downlink.py`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..mpi_calls import Comm
from ..operation import by_name, operation
from ..schedule import Schedule
from ..wire import Wire
from .compressor import Vector

NOT_DEFINED = -1
"""Returned by `bare_uplink` where a route does not define it."""


class Round(NamedTuple):
    """A round as a route sees it on one rank."""

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
    bytes handed to MPI (`enter_transported`). Where the route reaches all ranks, every rank decodes.
    """
    raise NotImplementedError


@operation
def bare_uplink(kernel: Any, comm: Comm, wire: Wire, size: int) -> int:
    """Make the MPI calls of `uplink` alone, for `mpi-fed bench`, outside of rounds; return MPI's error code.

    The sizes are those that the last round left in the wire. Returns NOT_DEFINED where a route does not say.
    """
    return NOT_DEFINED


@operation
def overlaps(kernel: Any) -> bool:
    """Return whether the uplink travels while the next messages are made. If not, `begin_uplink` is never called."""
    return False


@operation
def begin_uplink(kernel: Any, round: Round) -> int:
    """Start sending the round's messages, and return MPI's error code; `uplink` then waits for it.

    They lie in wire.send from `start_of_messages` on.
    """
    return 0


@operation
def progress_uplink(kernel: Any) -> int:
    """Let MPI go on with what `begin_uplink` started, and return its error code."""
    return 0


OPERATIONS = by_name(uplink, bare_uplink, overlaps, begin_uplink, progress_uplink)
