"""The alpha-beta model of the uplink and the downlink of a route, as a function of the ranks and the bytes.

seconds = alpha calls + copy volume + stretch (8 FRAME / PAYLOAD) max(client / B_client, root / B_root) + hops latency

alpha (s), copy (s/B) and stretch (1) are fitted (`costs.py`); FRAME / PAYLOAD accounts for headers. There are N ranks,
each with one client. A message has m bytes; the iterate, or the step's direction, has v bytes. L = ceil(log2 N), and
W = min(L, 2 (N-1)/N) is the better of a binomial tree and of scattering and gathering (Thakur, Rabenseifner and Gropp,
2005). For broadcasts to fewer than 8 ranks W = L, because MPI libraries use the tree there.

| transfer | calls | volume = bytes on the root's link | on a client's | hops |
|---|---|---|---|---|
| uplink of gather and gatherv | remote messages | remote messages x m | m | 1 |
| uplink of reduce, and all of allreduce | L | W m | W m | L |
| uplink of reduce-levels: a float for the scale first | 2 L | W m | W m | 2 L |
| all of allgather and allgatherv | L | remote messages x m | remote messages x m | L |
| downlink, in a cluster | L | W v | W v | L |
| downlink, to homes | participants | participants x v | v | 1 |
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ...routes import routes
from .machine import Machine

FRAME, PAYLOAD = 1514, 1448
"""Bytes of a full Ethernet packet of TCP, and of its payload."""
FEWEST_TO_SCATTER = 8
"""Smallest number of ranks for which a broadcast scatters and gathers."""


class Load(NamedTuple):
    """The calls, bytes and hops of the uplink or the downlink of a round."""

    calls: float
    volume: float  # bytes that software copies
    client: float  # bytes on a client's link
    root: float  # bytes on the root's link
    hops: float


NOTHING = Load(0.0, 0.0, 0.0, 0.0, 0.0)
"""The load of an absent downlink."""


def uplink(route: str, machine: Machine, messages: float, size: float) -> Load:
    """Return the load of an uplink of `messages` messages of `size` bytes, one from each rank that sends."""
    ranks, kind = machine.active, routes[route]
    remote = messages if machine.homes else messages * (ranks - 1) / ranks
    if kind.sums_in_mpi:
        once = _tree(ranks, size)
        return once._replace(calls=2 * once.calls, hops=2 * once.hops) if kind.joint_messages else once
    if kind.reaches_all_ranks:
        return Load(_levels(ranks), remote * size, remote * size, remote * size, _levels(ranks))
    any_remote = min(1.0, remote)
    return Load(remote, remote * size, any_remote * size, remote * size, any_remote)


def downlink(route: str, machine: Machine, size: float) -> Load:
    """Return the load of a downlink that sends `size` bytes (the iterate, or the direction) to every client."""
    if routes[route].reaches_all_ranks:
        return NOTHING
    ranks = machine.active
    if machine.homes:
        return Load(ranks, ranks * size, size, ranks * size, 1.0)
    return _tree(ranks, size, scatters=ranks >= FEWEST_TO_SCATTER)


def _levels(ranks: int) -> float:
    return float(math.ceil(math.log2(ranks)))


def _tree(ranks: int, size: float, scatters: bool = True) -> Load:
    moved = (min(_levels(ranks), 2 * (ranks - 1) / ranks) if scatters else _levels(ranks)) * size
    return Load(_levels(ranks), moved, moved, moved, _levels(ranks))


def wire_seconds(load: Load, machine: Machine, up: bool) -> float:
    """Return the seconds that the links need at their rates, including headers, without the bytes of a burst."""
    rate = machine.up if up else machine.down
    if rate is None or machine.root is None:
        return 0.0
    return 8 * max(_waiting(load.client, machine) / rate, _waiting(load.root, machine) / machine.root)


def _waiting(size: float, machine: Machine) -> float:
    return max(0.0, FRAME / PAYLOAD * size - machine.burst)


def is_clear(load: Load, machine: Machine) -> bool:
    """Return whether a link's burst covers the whole load or a small part of it.

    Otherwise the time depends on how much of the burst was available, which is unknown.
    """
    size = FRAME / PAYLOAD * load.root
    return size <= machine.burst / 2 or size >= 4 * machine.burst


def decoded(route: str, messages: float) -> float:
    """Return the number of messages that are decoded one after the other."""
    return 1.0 if routes[route].sums_in_mpi else messages


def allows(route: str, machine: Machine) -> bool:
    """Return whether the machine can run the route: homes neither add nor receive the messages of other clients."""
    kind = routes[route]
    return not (machine.homes and (kind.sums_in_mpi or kind.reaches_all_ranks))
