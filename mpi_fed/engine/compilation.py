"""Compilation: one decorator, one cache that can be neither stale nor torn, one way to choose code by type.

Every compiled function is an `@kernel`. Without compilation (see `mode`) the same source runs as plain Python and gives
the same bits: no fast-math (so LLVM neither reorders sums nor contracts a*b+c), sums in explicit lanes, explicit casts.

The cache folder is named by a digest of everything that compiled code depends on: the package's sources, the plugins,
Python, numba, llvmlite and the CPU's features. numba itself would not notice that a function in another file changed.
Each entry is read and written under a lock, and each kind of loop is compiled by one process while the others wait;
where the file system knows no locks, each has a folder of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .. import files, plugins
from ..errors import InputError
from . import compile_switch

COMPILED = compile_switch.compile_kernels
"""Kernels are compiled; otherwise they are plain Python, over mpi4py."""

if COMPILED:
    import llvmlite
    import llvmlite.binding
    import numba
    from numba.core import types
    from numba.core.caching import FunctionCache
    from numba.extending import intrinsic


def _sources() -> list[Path]:
    return sorted(Path(__file__).parents[1].rglob("*.py")) + plugins.sources()


def digest() -> str:
    """A digest of all that compiled code depends on."""
    parts = hashlib.sha256()
    for source in _sources():
        parts.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    for fact in (
        platform.python_version(),
        np.__version__,
        numba.__version__,
        llvmlite.__version__,
        llvmlite.binding.get_host_cpu_name(),
        llvmlite.binding.get_host_cpu_features().flatten(),
        str(numba.config.CPU_NAME),
        str(numba.config.CPU_FEATURES),
    ):
        parts.update(fact.encode() + b"\0")
    return parts.hexdigest()[:16]


def cache_folder() -> Path:
    """The folder for compiled code of exactly these sources and plugins on exactly this kind of CPU.

    Where it cannot be made or locked, a temporary folder of this process alone.
    """
    folder = files.cache_folder(f"kernels-{digest()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ENTRIES, fcntl.LOCK_SH):
            pass
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="mpi-fed-kernels-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


ENTRIES = "lock"
"""The file that is locked while an entry of the cache is read or written."""


@contextlib.contextmanager
def locked(path: Path, how: int) -> Iterator[IO[str]]:
    """Hold a lock on a file. It is open both ways, as file systems over a network ask for it."""
    with open(path, "a+") as file:
        fcntl.flock(file, how)
        yield file


if COMPILED:
    # numba decides where a function is cached when it is decorated, so this comes before the first kernel.
    FOLDER = cache_folder()
    COPY = [f"{source} {source.stat().st_mtime_ns}" for source in _sources()]
    """numba keeps the code of each copy of the sources apart, and looks at their times."""
    numba.config.CACHE_DIR = str(FOLDER)

    class LockedCache(FunctionCache):
        """numba's cache of a function, whose index and data would else be torn where processes race."""

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            with locked(FOLDER / ENTRIES, fcntl.LOCK_SH):
                return super().load_overload(sig, target_context)

        def save_overload(self, sig: Any, data: Any) -> None:
            with locked(FOLDER / ENTRIES, fcntl.LOCK_EX):
                super().save_overload(sig, data)


@contextlib.contextmanager
def compiling(*what: Any) -> Iterator[None]:
    """Around first calls of kernels: the first process compiles them, the others wait and load.

    `what`: names, and values whose types decide what is compiled; processes at something else go on meanwhile, and
    what is compiled already is waited for by nobody. Nothing goes wrong without it, but work is done twice.
    Raises InputError where a plugin's code cannot be compiled.
    """
    if not COMPILED:
        yield
        return
    with _first(what):
        try:
            yield
        except numba.core.errors.NumbaError as error:
            place = plugins.place_in(str(error))
            if place is None:
                raise
            raise InputError(
                f"--plugin {place[0]}: this cannot be compiled: {_reason(str(error), place[1])}"
            ) from error


@contextlib.contextmanager
def _first(what: Sequence[Any]) -> Iterator[None]:
    """Hold the lock of these kernels, unless its file says that they are compiled."""
    names = COPY + [each if isinstance(each, str) else f"{type(each)} {numba.typeof(each)}" for each in what]
    path = FOLDER / f"{hashlib.sha256(repr(names).encode()).hexdigest()[:16]}.lock"
    if path.exists() and path.stat().st_size:
        yield
        return
    with locked(path, fcntl.LOCK_EX) as file:
        if os.fstat(file.fileno()).st_size:  # by whoever was waited for: all load at once
            fcntl.flock(file, fcntl.LOCK_UN)
            yield
            return
        yield
        if what:
            file.write("compiled\n")


def _reason(message: str, place: int) -> str:
    """numba's reason for failing at a place of its message, in a line."""
    if "NRT required" in message:
        return "compiled code may not make arrays; make them once, in kernel(), as scratch space"
    if "Only accept returning of array" in message:
        return "a compiled function may not return a part of an array; take the part where it is used"
    innermost = message[:place].rpartition("raised a specific error:")[2]
    lines = [line.strip() for line in innermost.splitlines() if line.strip() and "Failed in" not in line]
    calls = [line.removeprefix(">>> ") for line in lines if line.startswith(">>> ")]
    return f"nothing fits the call {calls[0]}" if lines[0].startswith("No implementation") and calls else lines[0]


OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}
"""Without numba's run-time for memory (_nrt) nothing can allocate, and arrays are not counted: taking a dozen of them
out of a kernel tuple would otherwise cost more than the gradient of a round."""


def kernel(function: Callable) -> Callable:
    """Compile a function, cached on disk. Division by zero gives inf, as in NumPy, and the GIL is released."""
    return _cached(function, OPTIONS) if COMPILED else function


def inlined(function: Callable) -> Callable:
    """A kernel that LLVM is told to inline: for the few operations of an inner loop."""
    return _cached(function, {**OPTIONS, "forceinline": True}) if COMPILED else function


def _cached(function: Callable, options: dict[str, Any]) -> Callable:
    compiled = numba.njit(**options)(function)
    compiled._cache = LockedCache(function)
    return compiled


if COMPILED:

    def _bitcast(source: Any, target: Any) -> Any:
        def typed(context: Any, value: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                return builder.bitcast(arguments[0], context.get_value_type(target))

            return target(source), generate

        return intrinsic(typed)

    float_of = _bitcast(types.uint64, types.float64)
    bits_of = _bitcast(types.float64, types.uint64)

else:

    def float_of(word: np.uint64) -> np.float64:
        """The float64 with the bits of a uint64."""
        return np.uint64(word).view(np.float64)

    def bits_of(number: np.float64) -> np.uint64:
        """The bits of a float64 as a uint64."""
        return np.float64(number).view(np.uint64)
