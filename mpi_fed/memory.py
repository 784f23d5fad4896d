"""What a configuration takes of memory, known before anything is allocated or started.

An upper bound of what grows with the dimension and the clients; pages of a buffer that are never touched cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .configuration import Configuration
from .errors import InputError
from .mpi import COUNT_LIMIT
from .self_check import TRAILER
from .wire import snapshots_of

BASE = 350_000_000
"""Bytes of a rank that has imported, and compiled, what it needs, and holds nothing yet: about 200 MB where all of it
was compiled before."""
_VECTORS, _AT_A_LOG_POINT = 12, 4
"""Vectors of d float64: of a rank (iterate, sums, gradient, message, drawn numbers), and of the root for each log point
that it holds (two iterates, and what evaluating them takes)."""
_OF_EACH_CLIENT, _OF_EACH_HOSTED = 32, 40
"""Bytes of lists: who takes part, what each client has sent, which law it has; and of a rank's own, what they owe."""
MEND = "lower problem.dimension or study.clients"
"""What to do about a study that is too large."""


def counts_of(configuration: Configuration, ranks: int) -> dict[str, int]:
    """The largest counts that the round's MPI calls get, by what they count."""
    d, route, message = configuration.problem.dimension_of(), configuration.route, _message(configuration)
    down = (route.downlink_bits or 8) // 8
    return {
        "bytes of messages": message * _messages(configuration, ranks),
        "the downlink's numbers" if down == 1 else "the downlink's bytes": 0 if route.everywhere else down * d,
    }


def _message(configuration: Configuration) -> int:
    """Bytes of the longest, checksums included."""
    d, n, route = configuration.problem.dimension_of(), configuration.clients, configuration.route
    return route.payload_bytes(configuration.compressor, d, n) + (TRAILER if route.self_check else 0)


def _messages(configuration: Configuration, ranks: int) -> int:
    """The most messages of a round, empty slots included where every rank sends as many as the fullest."""
    n, compressor = configuration.clients, configuration.compressor
    return ranks * -(-n // ranks) if compressor.fixed_length else compressor.participants_max(n)


def of_rank(configuration: Configuration, ranks: int, root: bool = True) -> dict[str, int]:
    """Bytes of the root, or of another rank that hosts the most clients, by what they are for."""
    d, n = configuration.problem.dimension_of(), configuration.clients
    compressor, algorithm, route = configuration.compressor, configuration.algorithm, configuration.route
    hosted, message = -(-n // ranks), _message(configuration)
    room = compressor.participants_max(n)
    received = _messages(configuration, ranks) if root or route.everywhere else 0
    return {
        "the program": BASE,
        "vectors": 8 * d * _VECTORS,
        "messages": message * (min(hosted, room) + received),
        "scratch space": _scratch(configuration, message, hosted, received),
        "memories": hosted * algorithm.client_bytes(d),
        "lists": _OF_EACH_CLIENT * n + _OF_EACH_HOSTED * hosted,
        "data": configuration.problem.bytes_of(n, hosted),
        "log points": 8 * d * _AT_A_LOG_POINT * snapshots_of(d) if root else 0,
    }


def _scratch(configuration: Configuration, message: int, hosted: int, received: int) -> int:
    """What compressors and route hold of their own."""
    d, compressors = configuration.problem.dimension_of(), (configuration.compressor, configuration.downlink)
    own = sum(compressor.scratch_bytes(d) for compressor in compressors if compressor is not None)
    return own + configuration.route.scratch_bytes(message, d, hosted, received)


def check(place: str, configurations: Sequence[Configuration], ranks: int, here: int, mend: str = MEND) -> None:
    """Refuse what `here` of the ranks, the root among them, cannot hold on this machine, or MPI cannot count.

    Raises InputError, in which `mend` says what to do. `here` 0: on this machine nothing will run."""
    free = available() if here else None
    for configuration in configurations:
        for what, count in counts_of(configuration, ranks).items():
            if count > COUNT_LIMIT:
                raise InputError(
                    f"{place}: {configuration.label}: {count:,} is more {what} than an MPI call counts "
                    f"({COUNT_LIMIT:,}); {mend}"
                )
        parts = of_rank(configuration, ranks)
        others = of_rank(configuration, ranks, root=False)
        needed = {what: size + (here - 1) * others[what] for what, size in parts.items()}
        if free is not None and sum(needed.values()) > free:
            what = max(needed, key=lambda name: needed[name])
            raise InputError(
                f"{place}: {configuration.label} needs {shown(sum(needed.values()))} of memory here, {what} "
                f"{shown(needed[what])} of it, and {shown(free)} are free; {mend}, or run it on more machines"
            )


def available() -> int | None:
    """Bytes that this process and its children may still take: of the machine, and of its control group."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return min([free, *_group_limits()])


def _group_limits() -> list[int]:
    """What the control groups above this process leave, page cache not counted."""
    try:
        own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    found = []
    top = Path("/sys/fs/cgroup")
    group = top / own.removeprefix("0::").strip("/")
    for folder in [group, *group.parents]:
        try:
            limit = int((folder / "memory.max").read_text())
            cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            found.append(limit - int((folder / "memory.current").read_text()) + int(cached.get("file", 0)))
        except (OSError, ValueError):
            pass  # no limit, or none that may be read
        if folder == top:
            break
    return found


def shown(size: int) -> str:
    """Bytes for people."""
    scale, unit = next((one for one in ((1e12, "TB"), (1e9, "GB")) if size >= one[0]), (1e6, "MB"))
    return f"{size / scale:.3g} {unit}"
