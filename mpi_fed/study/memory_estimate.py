"""An estimate of the memory that a configuration takes, before anything is allocated or started.

An upper bound of what grows with the dimension and the clients; pages of a buffer that are never touched cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..engine.checksums import TRAILER
from ..engine.mpi_calls import COUNT_LIMIT
from ..engine.round import snapshots_of
from ..errors import InputError
from .configuration import Configuration

BASE = 350_000_000
"""Bytes of a rank that has just imported and compiled its code, without data; about 200 MB with a warm cache."""
_VECTORS, _AT_A_LOG_POINT = 8, 4
"""Vectors of d float64: of a rank (iterate, sums, gradient, drawn numbers), besides its compressor's, and of the root
for each log point that it holds (two iterates, and what evaluating them takes)."""
_MOST_WALKED = 1 << 24
_OF_EACH_CLIENT, _OF_EACH_HOSTED = 32, 40
"""Bytes of lists: who takes part, what each client has sent, which law it has; and of a rank's own, what they owe."""


def walked(dimension: int) -> int:
    """The count of numbers that a rank walks through in a round, or as many as fill any cache."""
    return min(_VECTORS * dimension, _MOST_WALKED)


def counts_of(configuration: Configuration, ranks: int) -> dict[str, int]:
    """The largest counts that the round's MPI calls get, by what they count."""
    d, route, message = configuration.problem.dimension_of(), configuration.route, _message(configuration)
    uplink = {"bytes of messages": message * route.received(configuration.compressor, configuration.clients, ranks)}
    if route.reaches_all_ranks:
        return uplink
    if configuration.downlink:
        return uplink | {"the downlink's bytes": _downlink_message(configuration)}
    if route.downlink_bits:
        return uplink | {"the downlink's bytes": route.downlink_bits // 8 * d}
    return uplink | {"the downlink's numbers": d}


def _message(configuration: Configuration) -> int:
    """Bytes of the longest message, checksums included."""
    d, n, route = configuration.problem.dimension_of(), configuration.clients, configuration.route
    return route.payload_bytes(configuration.compressor, d, n) + _trailer(configuration)


def _downlink_message(configuration: Configuration) -> int:
    """Bytes of the root's compressed message, checksums included; 0 where it sends none."""
    downlink = configuration.downlink
    return downlink.payload_bytes_max(configuration.problem.dimension_of()) + _trailer(configuration) if downlink else 0


def _trailer(configuration: Configuration) -> int:
    return TRAILER if configuration.route.self_check else 0


def of_rank(configuration: Configuration, ranks: int, root: bool = True) -> dict[str, int]:
    """Bytes of the root, or of another rank that hosts the most clients, by what they are for."""
    d, n = configuration.problem.dimension_of(), configuration.clients
    compressor, algorithm, route = configuration.compressor, configuration.algorithm, configuration.route
    hosted, message = -(-n // ranks), _message(configuration)
    room = compressor.participants_max(n)
    received = route.received(compressor, n, ranks) if root or route.reaches_all_ranks else 0
    downlink, decoded = configuration.downlink, 8 * d if route.self_check else 0
    return {
        "the program": BASE,
        "vectors": 8 * d * _VECTORS + compressor.scratch_bytes(d) + decoded,
        "messages": message * (min(hosted, room) * (2 if route.overlapping(algorithm) else 1) + received),
        "the route": route.scratch_bytes(message, d, hosted, received),
        "the downlink": downlink.scratch_bytes(d) + _downlink_message(configuration) + decoded if downlink else 0,
        "memories": hosted * algorithm.client_bytes(d),
        "lists": _OF_EACH_CLIENT * n + _OF_EACH_HOSTED * hosted,
        "data": configuration.problem.bytes_of(n, hosted),
        "log points": 8 * d * _AT_A_LOG_POINT * snapshots_of(d) if root else 0,
    }


def check(
    place: str,
    configurations: Sequence[Configuration],
    ranks: int,
    here: int,
    remedy: str = "lower problem.dimension or study.clients",
    twice: bool = False,
) -> None:
    """Refuse what `here` of the ranks, the root among them, cannot hold on this machine, or MPI cannot count.

    Raises InputError, which ends with the remedy. `here` is 0 where nothing will run on this machine. `twice`: for a
    bench, in which every rank walks through other vectors, and the root does the same rounds again by itself.
    """
    free = available() if here else None
    for configuration in configurations:
        for what, count in counts_of(configuration, ranks).items():
            if count > COUNT_LIMIT:
                raise InputError(
                    f"{place}: {configuration.label}: {count:,} is more {what} than an MPI call counts "
                    f"({COUNT_LIMIT:,}); {remedy}"
                )
        needed = _needed(configuration, ranks, here, twice)
        if free is not None and sum(needed.values()) > free:
            what = max(needed, key=lambda name: needed[name])
            total, most, left = map(show_bytes, (sum(needed.values()), needed[what], free))
            raise InputError(
                f"{place}: {configuration.label} needs {total} of memory here, {what} {most} of it, and {left} are "
                f"free; {remedy}, or run it on more machines"
            )


def _needed(configuration: Configuration, ranks: int, here: int, twice: bool) -> dict[str, int]:
    """Bytes of the ranks that are on the root's machine, by what they are for."""
    others, again = of_rank(configuration, ranks, root=False), of_rank(configuration, 1) | {"the program": 0}
    more = again | {"vectors": again["vectors"] + here * 8 * walked(configuration.problem.dimension_of())}
    return {
        what: size + (here - 1) * others[what] + (more[what] if twice else 0)
        for what, size in of_rank(configuration, ranks).items()
    }


def available() -> int | None:
    """Bytes that this process and its children may still take: of the machine, and of its control group."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return min([free, *_left_by_groups()])


class _Hierarchy(NamedTuple):
    """Where a version of control groups says what a group may take."""

    mark: str  # what is before the group in /proc/self/cgroup, behind the hierarchy's number
    top: str
    limit: str
    taken: str
    cached: str  # in memory.stat


_HIERARCHIES = (
    _Hierarchy("::", "sys/fs/cgroup", "memory.max", "memory.current", "file"),
    _Hierarchy(":memory:", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache"),
)
"""Version 2, and version 1."""


def _left_by_groups(root: Path = Path("/")) -> Iterator[int]:
    """What the control groups above this process leave, page cache not counted."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for hierarchy in _HIERARCHIES:
        for line in lines:
            _, mark, group = line.partition(hierarchy.mark)
            if mark:
                yield from _left(hierarchy, root / hierarchy.top, root / hierarchy.top / group.strip("/"))


def _left(hierarchy: _Hierarchy, top: Path, group: Path) -> Iterator[int]:
    """The bytes that each group leaves, from this one up to the top of its hierarchy."""
    for folder in [group, *group.parents]:
        try:
            limit = int((folder / hierarchy.limit).read_text())
            cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield limit - int((folder / hierarchy.taken).read_text()) + int(cached.get(hierarchy.cached, 0))
        except (OSError, ValueError):
            pass  # no limit, or none that may be read
        if folder == top:
            break


def show_bytes(size: int) -> str:
    """A number of bytes as text: 1.5 GB."""
    scale, unit = next(((scale, unit) for scale, unit in ((1e12, "TB"), (1e9, "GB")) if size >= scale), (1e6, "MB"))
    return f"{size / scale:.3g} {unit}"
