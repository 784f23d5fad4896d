"""Queries about processes and their children."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from pathlib import Path


def alive(process: int) -> bool:
    """Return whether any thread of a process still runs, and may hold files.

    A process that has ended stays listed until its parent waits for it, which the new parent of an orphan may do
    seconds later.
    """
    threads = list(Path(f"/proc/{process}/task").glob("*/stat"))
    return any(_state(thread) not in ("Z", "X", None) for thread in threads)


def _state(stat: Path) -> str | None:
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def children(process: int) -> Iterator[int]:
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, path.read_text().split())


def family(process: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    yield process
    for child in children(process):
        yield from family(child)


def seconds_until_gone(processes: Collection[int], patience: float = 20) -> float:
    begun = time.monotonic()
    while any(map(alive, processes)) and time.monotonic() - begun < patience:
        time.sleep(0.005)
    return time.monotonic() - begun
