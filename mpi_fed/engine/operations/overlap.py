"""The uplink's collective that travels while the next messages are made: a route's kernel holds it as `flight`.

flies(flight)                           whether it does; where not, the uplink is one blocking call, and nothing follows
gathers(flight, comm, send, count, receive, everywhere)
gathers_any(flight, comm, send, count, receive, counts, starts, everywhere)
adds_up(flight, comm, send, receive, count, kind, everywhere)
                                        start MPI_Igather, MPI_Igatherv or MPI_Ireduce, or what brings all of it
                                        everywhere: MPI_Iallgather, ...; MPI's error code
nudge(flight)                           let MPI go on with it, as many do in their own calls alone; MPI's error code
land(flight)                            wait until it has arrived; MPI's error code
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compilation import Operation
from ..mpi_calls import no_request, start_gather, start_gatherv, start_reduce, test, wait

STATUS_WORDS = 16
"""int64 words that hold any MPI's MPI_Status."""


class Grounded(NamedTuple):
    """Nothing travels while anything is computed."""

    kind: int


class Flight(NamedTuple):
    """One collective under way, or none."""

    request: NDArray[np.int64]  # (1,): MPI's handle
    status: NDArray[np.int64]  # what MPI says of its end, which nobody reads
    done: NDArray[np.int32]  # (1,)


GROUNDED = Grounded(0)


def flight() -> Flight:
    """Of a rank: nothing is under way yet."""
    return Flight(np.array([no_request()], np.int64), np.zeros(STATUS_WORDS, np.int64), np.zeros(1, np.int32))


def _no(flight):
    return False


def _yes(flight):
    return True


def _nothing(flight):
    return 0


def _no_gather(flight, comm, send, count, receive, everywhere):
    return 0


def _no_gatherv(flight, comm, send, count, receive, counts, starts, everywhere):
    return 0


def _no_reduce(flight, comm, send, receive, count, kind, everywhere):
    return 0


def _gather(flight, comm, send, count, receive, everywhere):
    return start_gather(comm, send, count, receive, everywhere, flight.request)


def _gatherv(flight, comm, send, count, receive, counts, starts, everywhere):
    return start_gatherv(comm, send, count, receive, counts, starts, everywhere, flight.request)


def _reduce(flight, comm, send, receive, count, kind, everywhere):
    return start_reduce(comm, send, receive, count, kind, everywhere, flight.request)


def _nudge(flight):
    return test(flight.request, flight.done, flight.status)


def _land(flight):
    return wait(flight.request, flight.status)


_flies, _nudged, _landed = Operation("flies", _no), Operation("nudge", _nothing), Operation("land", _nothing)
_flies.implement(Flight, _yes)
_nudged.implement(Flight, _nudge)
_landed.implement(Flight, _land)
_gathers, _gathers_any = Operation("gathers", _no_gather), Operation("gathers_any", _no_gatherv)
_adds_up = Operation("adds_up", _no_reduce)
_gathers.implement(Flight, _gather)
_gathers_any.implement(Flight, _gatherv)
_adds_up.implement(Flight, _reduce)
flies, nudge, land = _flies.call, _nudged.call, _landed.call
gathers, gathers_any, adds_up = _gathers.call, _gathers_any.call, _adds_up.call
