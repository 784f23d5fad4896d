"""Compilation: one decorator, one cache that can be neither stale nor torn, one way to choose code by type.

Every compiled function is an `@kernel`. Without compilation (see `mode`) the same source runs as plain Python and gives
the same bits: no fast-math (so LLVM neither reorders sums nor contracts a*b+c), sums in explicit lanes, explicit casts.

The cache folder is named by a digest of everything that compiled code depends on: the package's sources, the plugins,
Python, numba, llvmlite and the CPU's features. numba itself would not notice that a function in another file changed.
Processes fill it one at a time, under a lock; where the file system knows no locks, each has a folder of its own.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import mode, plugins
from .errors import InputError

COMPILED = mode.compile_kernels
"""Kernels are compiled; otherwise they are plain Python, over mpi4py."""

if COMPILED:
    import llvmlite
    import llvmlite.binding
    import numba
    from numba.core import types
    from numba.extending import intrinsic, overload


def digest() -> str:
    """A digest of all that compiled code depends on."""
    parts = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")) + plugins.sources():
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

    Where it cannot be made or locked, a temporary folder of this process alone."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("MPI_FED_CACHE_DIR") or Path(home) / "mpi_fed") / f"kernels-{digest()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="mpi-fed-kernels-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


if COMPILED:
    # numba decides where a function is cached when it is decorated, so this comes before the first kernel.
    FOLDER = cache_folder()
    numba.config.CACHE_DIR = str(FOLDER)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Hold the cache while kernels are compiled or loaded: the first process compiles, the others wait and load.

    Every first call of a kernel belongs inside: numba's own cache may load a torn entry when processes race.
    Raises InputError where a plugin's code cannot be compiled."""
    if not COMPILED:
        yield
        return
    with open(FOLDER / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        except numba.core.errors.NumbaError as error:
            place = plugins.place_in(str(error))
            if place is None:
                raise
            raise InputError(
                f"--plugin {place[0]}: this cannot be compiled: {_reason(str(error), place[1])}"
            ) from error


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
    return numba.njit(cache=True, **OPTIONS)(function) if COMPILED else function


def inlined(function: Callable) -> Callable:
    """A kernel that LLVM is told to inline: for the few operations of an inner loop."""
    return numba.njit(cache=True, forceinline=True, **OPTIONS)(function) if COMPILED else function


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


class Operation:
    """A compiled operation whose code depends on the type of its first argument, a NamedTuple.

    `operation.implement(Kernel, function)` adds a case; `operation.call`, compiled or not, runs it. Types without a
    case of their own get the default, if there is one.
    """

    def __init__(self, name: str, default: Any = None) -> None:
        cases: dict[Any, Any] = {}

        def call(first: Any, *rest: Any) -> Any:
            return cases.get(type(first), default)(first, *rest)

        call.__name__ = call.__qualname__ = name
        if COMPILED:

            # inlined, since its arguments are tuples of many arrays, and passing those costs more than many a call does
            @overload(call, jit_options={**OPTIONS, "forceinline": True}, strict=False)
            def choose(first: Any, *rest: Any) -> Callable | None:
                return cases.get(getattr(first, "instance_class", None), default)

        self.cases = cases
        self.call = call

    def implement(self, kernel_type: type, function: Callable) -> None:
        """Let `function` serve first arguments of type `kernel_type`."""
        self.cases[kernel_type] = function
