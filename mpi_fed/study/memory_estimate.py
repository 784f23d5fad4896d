"""Estimate of the memory that a configuration needs, before anything is allocated or started.

The estimate is an upper bound of all parts that grow with the dimension and the number of clients. A run may need less,
since untouched pages of a buffer take no memory.
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
"""Bytes of a rank after it imported and compiled its code, without data; about 200 MB if the code was in the cache."""
_VECTORS, _AT_A_LOG_POINT = 8, 4
"""Numbers of vectors of d float64: on a rank (iterate, sums, gradient, random numbers) without its compressor, and on
the root for each log point in memory (two iterates, and the vectors to evaluate them)."""
_MOST_WALKED = 1 << 24
_OF_EACH_CLIENT, _OF_EACH_HOSTED = 32, 40
"""Bytes of lists for each client (participation, bytes sent, distribution), and for each client that a rank hosts."""


def walked(dimension: int) -> int:
    """Return the number of floats that a rank reads in a round, but at most a number that exceeds any cache."""
    return min(_VECTORS * dimension, _MOST_WALKED)


def counts_of(configuration: Configuration, ranks: int) -> dict[str, int]:
    """Return the largest counts that a round passes to MPI calls; each key says what is counted."""
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
    """Return the bytes of the longest message, checksums included."""
    d, n, route = configuration.problem.dimension_of(), configuration.clients, configuration.route
    return route.payload_bytes(configuration.compressor, d, n) + _trailer(configuration)


def _downlink_message(configuration: Configuration) -> int:
    """Return the bytes of the root's compressed message, checksums included; 0 if the root does not compress."""
    downlink = configuration.downlink
    return downlink.payload_bytes_max(configuration.problem.dimension_of()) + _trailer(configuration) if downlink else 0


def _trailer(configuration: Configuration) -> int:
    return TRAILER if configuration.route.self_check else 0


def of_rank(configuration: Configuration, ranks: int, root: bool = True) -> dict[str, int]:
    """Return the bytes, by purpose, of the root or of another rank that hosts the most clients."""
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
    """Raise InputError if the configurations need more memory than this machine has, or counts that MPI cannot pass.

    `here` is the number of ranks on this machine, the root included; 0 if no rank runs on this machine. The message
    ends with `remedy`. `twice` is for a bench, in which every rank reads further vectors, and the root repeats the
    rounds alone.
    """
    free = available() if here else None
    for configuration in configurations:
        for what, count in counts_of(configuration, ranks).items():
            if count > COUNT_LIMIT:
                raise InputError(
                    f"{place}: {configuration.label}: an MPI call would have to count {count:,} ({what}), "
                    f"but its limit is {COUNT_LIMIT:,}; {remedy}"
                )
        needed = _needed(configuration, ranks, here, twice)
        if free is not None and sum(needed.values()) > free:
            what = max(needed, key=lambda name: needed[name])
            total, most, left = map(show_bytes, (sum(needed.values()), needed[what], free))
            raise InputError(
                f"{place}: {configuration.label} needs {total} of memory on this machine ({most} of it for {what}), "
                f"but {left} are free; {remedy}, or run it on more machines"
            )


def _needed(configuration: Configuration, ranks: int, here: int, twice: bool) -> dict[str, int]:
    """Return the bytes, by purpose, of all ranks on the root's machine."""
    others, again = of_rank(configuration, ranks, root=False), of_rank(configuration, 1) | {"the program": 0}
    more = again | {"vectors": again["vectors"] + here * 8 * walked(configuration.problem.dimension_of())}
    return {
        what: size + (here - 1) * others[what] + (more[what] if twice else 0)
        for what, size in of_rank(configuration, ranks).items()
    }


def available() -> int | None:
    """Return the bytes that this process and its children may still use, on the machine and in its control groups."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return min([free, *_left_by_groups()])


class _Hierarchy(NamedTuple):
    """Files in which one version of control groups states the memory limit and use of a group."""

    mark: str  # text between the number of the hierarchy and the group in /proc/self/cgroup
    top: str
    limit: str
    taken: str
    cached: str  # in memory.stat


_HIERARCHIES = (
    _Hierarchy("::", "sys/fs/cgroup", "memory.max", "memory.current", "file"),
    _Hierarchy(":memory:", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache"),
)
"""Version 2, then version 1."""


def _left_by_groups(root: Path = Path("/")) -> Iterator[int]:
    """Yield the bytes that each control group of this process still allows; page cache does not count as used."""
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
    """Yield the bytes that each group still allows, from `group` up to the top of its hierarchy."""
    for folder in [group, *group.parents]:
        try:
            limit = int((folder / hierarchy.limit).read_text())
            cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield limit - int((folder / hierarchy.taken).read_text()) + int(cached.get(hierarchy.cached, 0))
        except (OSError, ValueError):
            pass  # no limit, or no permission to read it
        if folder == top:
            break


def show_bytes(size: int) -> str:
    """Return a number of bytes as text: 1.5 GB."""
    scale, unit = next(((scale, unit) for scale, unit in ((1e12, "TB"), (1e9, "GB")) if size >= scale), (1e6, "MB"))
    return f"{size / scale:.3g} {unit}"
