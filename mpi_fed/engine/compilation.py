"""Compilation of kernels, and the cache of compiled code.

Every compiled function is decorated with `@kernel` or `@inlined`. Without compilation (see `compile_switch`) the same
source runs as plain Python and gives the same bits: there is no fast-math (so LLVM neither reorders sums nor contracts
a*b+c), sums have explicit lanes, and casts are explicit.

The cache folder is named by a digest of everything that compiled code depends on: the sources of the package, the
plugins, Python, numba, llvmlite and the features of the CPU. numba itself would not notice that a function in another
file changed. Each entry is read and written under a lock, and one process compiles each kind of loop while the others
wait. If the file system does not support locks, each process has its own folder.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import numpy as np

from .. import files, plugins
from ..errors import InputError
from . import compile_switch

COMPILED = compile_switch.compile_kernels
"""True if kernels are compiled; otherwise they are plain Python and call MPI through mpi4py."""

Integer = int | np.integer[Any]
"""An integer in compiled code: Python's or NumPy's."""
F = TypeVar("F", bound=Callable[..., Any])

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
    """Return a digest of everything that compiled code depends on."""
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
    """Return the folder for compiled code of exactly these sources and plugins on exactly this type of CPU.

    If this folder cannot be made or locked, return a temporary folder that only this process uses.
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
"""Name of the file that is locked while an entry of the cache is read or written."""


@contextlib.contextmanager
def locked(path: Path, how: int) -> Iterator[IO[str]]:
    """Hold a lock on a file, which is opened for reading and writing, as network file systems require for locks."""
    with open(path, "a+") as file:
        fcntl.flock(file, how)
        yield file


if COMPILED:
    # numba chooses a function's cache folder when it is decorated, so this must precede the first kernel.
    FOLDER = cache_folder()
    COPY = [f"{source} {source.stat().st_mtime_ns}" for source in _sources()]
    """Paths and modification times of the sources, since numba keeps separate code for each copy of the sources."""
    numba.config.CACHE_DIR = str(FOLDER)

    class LockedCache(FunctionCache):  # type: ignore[misc]
        """numba's cache of a function, under a lock, so that concurrent processes cannot damage its index or data."""

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            with locked(FOLDER / ENTRIES, fcntl.LOCK_SH):
                return super().load_overload(sig, target_context)

        def save_overload(self, sig: Any, data: Any) -> None:
            with locked(FOLDER / ENTRIES, fcntl.LOCK_EX):
                super().save_overload(sig, data)


_COLOURS = re.compile("\x1b\\[[0-9;]*m")  # in numba's messages if colorama is installed


@contextlib.contextmanager
def compiling(*identity: Any) -> Iterator[None]:
    """Let one process compile the kernels that the `with` block calls, while the others wait and then load the code.

    identity: names, and values whose types determine which code is compiled. Processes that need other code do not
    wait, and code that is already compiled is loaded at once. Without this lock, several processes may compile the same
    code, which gives the same results. Raises InputError if the code of a plugin cannot be compiled.
    """
    if not COMPILED:
        yield
        return
    with _first(identity):
        try:
            yield
        except numba.core.errors.NumbaError as error:
            message = _COLOURS.sub("", str(error))
            place = plugins.place_in(message)
            if place is None:
                raise
            raise InputError(
                f"--plugin {place[0]}: this line cannot be compiled: {_reason(message, place[1])}"
            ) from error


@contextlib.contextmanager
def _first(identity: Sequence[Any]) -> Iterator[None]:
    """Hold the lock of these kernels, unless the lock file says that the kernels are compiled."""
    names = COPY + [each if isinstance(each, str) else f"{type(each)} {numba.typeof(each)}" for each in identity]
    path = FOLDER / f"{hashlib.sha256(repr(names).encode()).hexdigest()[:16]}.lock"
    if path.exists() and path.stat().st_size:
        yield
        return
    with locked(path, fcntl.LOCK_EX) as file:
        if os.fstat(file.fileno()).st_size:  # another process has compiled: all can now load at the same time
            fcntl.flock(file, fcntl.LOCK_UN)
            yield
            return
        yield
        if identity:
            file.write("compiled\n")


def _reason(message: str, place: int) -> str:
    """Return numba's reason for failing at a place of its message, in one line."""
    if "NRT required" in message:
        return "compiled code cannot create arrays; create them once, in kernel(), as scratch space"
    if "Only accept returning of array" in message:
        return "a compiled function cannot return a slice of an array; take the slice where it is used"
    innermost = message[:place].rpartition("raised a specific error:")[2]
    lines = [line.strip() for line in innermost.splitlines() if line.strip() and "Failed in" not in line]
    calls = [line.removeprefix(">>> ") for line in lines if line.startswith(">>> ")]
    unknown_call = lines[0].startswith("No implementation") and calls
    return f"no function has the arguments of the call {calls[0]}" if unknown_call else lines[0]


OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}
"""Options of numba.njit. Without numba's memory run-time (_nrt), compiled code cannot allocate memory and counts no
references to arrays. For a kernel tuple of a dozen arrays, counting would take longer than the gradient of a round."""


def kernel(function: F) -> F:
    """Compile a function, and cache its code on disk.

    Parameters
    ----------
    function : function
        A function of numbers, arrays and named tuples of these. It may call other kernels and operations. It cannot
        create arrays or return slices of arrays.

    Returns
    -------
    function
        The compiled function, or the function itself with NUMBA_DISABLE_JIT=1.

    Notes
    -----
    Division by zero gives inf, as in NumPy. The GIL is released.
    """
    return _cached(function, OPTIONS) if COMPILED else function


def inlined(function: F) -> F:
    """Compile a function that LLVM inlines into its callers. Use it for short functions in inner loops."""
    return _cached(function, {**OPTIONS, "forceinline": True}) if COMPILED else function


def _cached(function: F, options: dict[str, Any]) -> F:
    compiled = numba.njit(**options)(function)
    compiled._cache = LockedCache(function)
    return cast(F, compiled)


if COMPILED:

    def _bitcast(source: Any, target: Any) -> Any:
        def typed(context: Any, value: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                return builder.bitcast(arguments[0], context.get_value_type(target))

            return target(source), generate

        return intrinsic(typed)

    float_of: Callable[[np.uint64], np.float64] = _bitcast(types.uint64, types.float64)
    bits_of: Callable[[np.float64], np.uint64] = _bitcast(types.float64, types.uint64)

else:

    def float_of(word: np.uint64) -> np.float64:
        """Return the float64 with the bits of a uint64."""
        return np.uint64(word).view(np.float64)

    def bits_of(number: np.float64) -> np.uint64:
        """Return the bits of a float64 as a uint64."""
        return np.float64(number).view(np.uint64)
