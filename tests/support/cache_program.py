"""Processes for the tests of the cache of compiled kernels.

pack                compile or load a kernel that calls a kernel of another file, and print its result
fill TYPES...       compile or load a kernel for arrays of each of these types
wide TYPES...       as fill, but wait after numba has read the index of its cache
named TYPE [--held] compile or load a kernel under its lock. Prints when it begins, when it holds the lock (only with
                    --held; then it waits for a line) and whether it compiled or loaded
collide TYPE PLACE  as fill, without locks, so that two such processes write the cache at the same time
audit STUDY OUT     run the configuration "none" of a study. Prints each use of numba's cache without the lock, then
                    all uses
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.caching import IndexDataCacheFile
from numpy.typing import NDArray

from mpi_fed.engine import compilation

WINDOW = 0.3


@compilation.kernel
def total(x: NDArray[Any]) -> np.float64:
    """Return the sum of x, (8,)."""
    result = np.float64(0.0)
    for i in range(8):
        result += x[i].real
    return result


def pack() -> None:
    from mpi_fed.engine.random_streams import Stream
    from mpi_fed.engine.wire_floats import pack

    payload, stream = np.zeros(16, np.uint8), Stream(np.uint64(1), np.uint64(2), np.uint64(3))
    with compilation.compiling():
        pack(np.full(8, 0.1), 16, payload, stream, np.zeros(1024))
    print(compilation.digest(), payload.tobytes().hex())


def delay(method: str, wait: Callable[[], None]) -> None:
    """Let numba's cache wait after it has read its index, or before it writes."""
    original = getattr(IndexDataCacheFile, method)

    def later(self: IndexDataCacheFile, *arguments: Any) -> Any:
        if method.startswith("_save"):
            wait()
            return original(self, *arguments)
        index = original(self, *arguments)
        wait()
        return index

    setattr(IndexDataCacheFile, method, later)


def fill(types: list[str]) -> None:
    for name in types:
        x = np.arange(1, 65).astype(name)  # long enough for a kernel of any type
        with compilation.compiling():
            print(name, total(x[:8]))


def named(name: str, held: bool) -> None:
    def watched(self: IndexDataCacheFile, *arguments: Any) -> Any:
        saved.append(arguments)
        return save(self, *arguments)

    saved: list[tuple[Any, ...]] = []
    save = IndexDataCacheFile._save_data
    IndexDataCacheFile._save_data = watched
    x = np.arange(1, 65).astype(name)
    print("begun", flush=True)
    with compilation.compiling("total", x):
        if held:
            print("in", flush=True)
            sys.stdin.readline()
        total(x[:8])
    print("compiled" if saved else "loaded")


def collide(name: str, place: int) -> None:
    """Act as one of two processes that both read the index before either writes.

    Then the index of one and the data of the other are written last.
    """
    seen = itertools.count()

    def meet() -> None:
        if next(seen) == 1:  # while saving; the first time was an attempt to load
            (compilation.FOLDER / f"{place}.here").touch()
            while len(list(compilation.FOLDER.glob("*.here"))) < 2:
                time.sleep(0.01)

    delay("_load_index", meet)
    delay("_save_index", lambda: time.sleep(WINDOW if place == 0 else 0))
    delay("_save_data", lambda: time.sleep(2 * WINDOW if place == 1 else 0))
    fcntl.flock = lambda fd, operation: None
    fill([name])


def audit(study: str, out: str) -> None:
    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def watch(self: IndexDataCacheFile, *arguments: Any) -> Any:
            with open(compilation.FOLDER / "lock", "a") as lock, contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                print(f"{method.__name__} {self._index_name}")
            uses.append(method.__name__)
            return method(self, *arguments)

        return watch

    uses: list[str] = []
    for name in ("_load_index", "_save_index", "_load_data", "_save_data"):
        setattr(IndexDataCacheFile, name, watched(getattr(IndexDataCacheFile, name)))
    from mpi_fed.launch.world import start
    from mpi_fed.runner.repetitions import run
    from mpi_fed.study.plan import make_plan
    from mpi_fed.study.run_options import RunOptions

    run(make_plan(RunOptions((study,), out, only="none", ranks=start().size)), start())
    print(*sorted(set(uses)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["pack"]:
            pack()
        case ["fill", *types]:
            fill(types)
        case ["named", name, *held]:
            named(name, bool(held))
        case ["wide", *types]:
            delay("_load_index", lambda: time.sleep(WINDOW / 6))
            fill(types)
        case ["collide", name, place]:
            collide(name, int(place))
        case ["audit", study, out]:
            audit(study, out)
