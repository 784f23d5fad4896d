"""Start and end of a rank: the MPI world is checked to be the requested one, and a failure of one rank ends the job.

Only `start` loads MPI, after it has set the variables that MPI reads.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import functools
import glob
import os
import sys
import termios
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, RunError, WorldError
from . import environment, pmi_heap

if TYPE_CHECKING:
    from mpi4py import MPI

_SEGMENTS = ("/dev/shm/mpich_shm_", "/dev/shm/sm_segment.", "/dev/shm/vader_segment.")

_REMEDY = "`mpi-fed run STUDY --ranks N` finds the right launcher"

STALE = 5.0
"""Age in seconds from which an unmapped segment counts as orphaned."""
GRACE = 0.5
"""Seconds that a failing rank waits for the root: if all ranks fail alike, only the root prints the reason."""
START_GRACE = 2.0
"""Seconds that a failing rank waits before MPI has started, when ranks may be further apart in time."""


@dataclass(frozen=True, eq=False)
class World:
    """The ranks of the job (communicator `comm`), and the ranks on this rank's node (communicator `node`)."""

    comm: MPI.Intracomm = field(repr=False)
    node: MPI.Comm = field(repr=False)
    rank: int
    size: int
    node_rank: int
    node_size: int
    host: str
    library: str
    thread_level: str

    @property
    def is_root(self) -> bool:
        """True on rank 0, which aggregates, writes the log and prints."""
        return self.rank == 0


@functools.cache
def start() -> World:
    """Start MPI, and check that its world has the size that the launcher started and the user asked for.

    Call this function at the very beginning of a rank: launchers wait forever if a rank fails before it has started
    MPI. The rank ends when its launcher ends in any way. If the world has another size or MPI is missing, one process
    raises WorldError, and the others exit with the same status.
    """
    try:
        if environment.launched_size(os.environ) is not None:
            environment.die_with_launcher(os.environ)
        _prepare()
        _sweep_shared_memory()
        world = world_of(_mpi().COMM_WORLD)
        environment.record_process(os.environ, world.rank)
        _unlink_shared_memory(world)
        _check_size(world)
    except WorldError:
        if environment.launched_rank(os.environ) == 0:
            raise
        time.sleep(START_GRACE)
        raise SystemExit(WorldError.exit_status) from None
    return world


@contextlib.contextmanager
def guard(world: World) -> Iterator[None]:
    """End the whole job at once after an exception in the block, even while other ranks are in a compiled collective.

    For an InputError, WorldError or RunError, only its sentence is printed, and the job ends with its exit status. Any
    other exception is a bug: rank, host and traceback are printed, and the status is 1. SystemExit is not caught.
    """
    try:
        yield
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 (the job ends)
        _end_job(world, error)


def _prepare() -> None:
    """Set the variables that NumPy and MPI read when they start."""
    loaded = "numpy" in sys.modules and "OMP_NUM_THREADS" not in os.environ
    environment.limit_threads(os.environ)
    if loaded:
        import threadpoolctl

        threadpoolctl.threadpool_limits(1)
    environment.tune_mpi(os.environ, environment.is_crowded(os.environ))


def _mpi() -> Any:
    """Start MPI, and return mpi4py's module MPI.

    The thread level is "funneled", since a higher one makes MPICH 3 to 4 times slower.
    """
    try:
        import mpi4py

        mpi4py.rc(initialize=False, finalize=True)
        with _unwarned():
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise WorldError(f"mpi4py cannot load MPI: {reason}; `mpi-fed doctor` says what to install") from None
    if not MPI.Is_initialized():
        vendor = MPI.get_vendor()[0]
        if "OMPI_COMM_WORLD_SIZE" in os.environ and vendor != "Open MPI":
            raise WorldError(f"the launcher belongs to Open MPI, but mpi4py loads {vendor}; {_REMEDY}")
        clean = pmi_heap.fresh_blocks() if pmi_heap.slurm_speaks_pmi1(os.environ) else contextlib.nullcontext()
        with _unwarned(), clean:
            MPI.Init_thread(MPI.THREAD_FUNNELED)
    return MPI


def _unwarned() -> warnings.catch_warnings:
    """Suppress mpi4py's warning about the launcher of another MPI, because `_mpi` raises an error in this case."""
    return warnings.catch_warnings(action="ignore", category=RuntimeWarning)


def world_of(comm: MPI.Intracomm) -> World:
    """Return the world of an existing communicator. Collective: every rank of `comm` calls it."""
    from mpi4py import MPI

    vendor, version = MPI.get_vendor()
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    levels = {
        MPI.THREAD_SINGLE: "single",
        MPI.THREAD_FUNNELED: "funneled",
        MPI.THREAD_SERIALIZED: "serialized",
        MPI.THREAD_MULTIPLE: "multiple",
    }
    return World(
        comm=comm,
        node=node,
        rank=comm.Get_rank(),
        size=comm.Get_size(),
        node_rank=node.Get_rank(),
        node_size=node.Get_size(),
        host=MPI.Get_processor_name(),
        library=f"{vendor} {'.'.join(map(str, version))}",
        thread_level=levels[MPI.Query_thread()],
    )


def _unlink_shared_memory(world: World) -> None:
    """Unlink the node's shared memory, which stays mapped, so that no file is left when the job ends in any way.

    A file that is left occupies /dev/shm, and may make a later MPI_Init hang. The files are unlinked only if every
    rank of the node has mapped all files that the node's first rank has mapped.
    """
    mapped = _shared_memory()
    mapped_by_root = world.node.bcast(mapped)
    if all(world.node.allgather(mapped_by_root <= mapped)) and world.node_rank == 0:
        for path in mapped:
            Path(path).unlink(missing_ok=True)


def _sweep_shared_memory() -> None:
    """Remove this user's segments that no process has mapped. Jobs killed during MPI_Init leave such segments.

    A job that Slurm requeues looks for its segment under the same name, and hangs if it finds an old segment. New
    segments are not removed, because they may not be mapped yet.
    """
    for prefix in _SEGMENTS:
        for path in map(Path, glob.glob(f"{prefix}*")):
            with contextlib.suppress(OSError):
                facts = path.stat()
                if facts.st_uid == os.geteuid() and time.time() - facts.st_mtime > STALE and not _is_mapped(path):
                    path.unlink()


def _is_mapped(path: Path) -> bool:
    """Return whether a process of this user has mapped the file."""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if str(path) in maps.read_text():
                return True
        except OSError:  # the process has just ended, or belongs to another user, who cannot have mapped the file
            continue
    return False


def _shared_memory() -> set[str]:
    """Return the files of MPI's shared memory that this process has mapped."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    return {line.split(maxsplit=5)[5] for line in lines if any(prefix in line for prefix in _SEGMENTS)}


def _check_size(world: World) -> None:
    launched = environment.launched_size(os.environ) or world.size
    if launched != world.size:
        raise WorldError(
            f"the launcher started {launched} ranks, but their MPI world has {world.size}: "
            f"the launcher does not belong to {world.library}; {_REMEDY}"
        )
    wanted = int(os.environ.get(environment.RANKS, world.size))
    if wanted != world.size:
        raise WorldError(f"{wanted} ranks were requested, but the MPI world has {world.size}; {_REMEDY}")


def _end_job(world: World, error: BaseException) -> None:
    if not world.is_root:
        time.sleep(GRACE)
    status, message = _describe(world, error)
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    await_reader()
    world.comm.Abort(status)


def await_reader() -> None:
    """Wait, at most a second, until the pipe of standard error is empty, because a launcher drops unread output."""
    end = time.monotonic() + 1
    waiting = array.array("i", [1])
    with contextlib.suppress(OSError):  # standard error is not a pipe
        while waiting[0] and time.monotonic() < end:
            fcntl.ioctl(2, termios.FIONREAD, waiting)
            time.sleep(0.005)


def _describe(world: World, error: BaseException) -> tuple[int, str]:
    """Return the exit status of the job and the message to print."""
    place = "" if world.is_root else f"rank {world.rank} on {world.host}: "
    if isinstance(error, InputError | WorldError | RunError):
        from ..text import plain

        return error.exit_status, f"mpi-fed: {place}{plain(' '.join(str(error).split()))}"
    if isinstance(error, KeyboardInterrupt):
        return 130, f"mpi-fed: {place}interrupted"
    trace = "".join(traceback.format_exception(error)).rstrip()
    return 1, f"mpi-fed: rank {world.rank} on {world.host} failed\n{trace}"
