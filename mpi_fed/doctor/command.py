"""`mpi-fed doctor`: check MPI, its launcher and this machine, and show how to fix what is wrong."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import WorldError
from ..launch import environment, launcher

OK, WARN, FAIL = "ok", "warn", "FAIL"
TIMEOUT = 60
"""Seconds within which two ranks must start and answer."""
SHARED_MEMORY = 256
"""MB of /dev/shm that a few ranks may need: Open MPI takes 16 MB for each rank."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. The `remedy`, if any, is printed on a second line."""

    subject: str
    verdict: str
    text: str
    remedy: str = ""


def doctor() -> int:
    """Print the report. Return exit status 0, or 3 if a check fails."""
    failed = False
    for finding in examine():
        failed = failed or finding.verdict == FAIL
        print(f"{finding.verdict:5}{finding.subject:16}{finding.text}", flush=True)
        if finding.remedy:
            print(f"{'':21}-> {finding.remedy}", flush=True)
    print("a check failed: see FAIL above" if failed else "all is well")
    return WorldError.exit_status if failed else 0


def examine() -> Iterator[Finding]:
    """Yield each finding as soon as its check ends."""
    yield from _python()
    yield from _mpi()
    yield from _machine()
    yield from _cache()
    yield from _hdf5()
    yield from _slurm()


def _python() -> Iterator[Finding]:
    yield Finding("Python", OK, f"{platform.python_version()} ({sys.executable})")
    for package in ("mpi-fed", "mpi4py", "numpy", "numba"):
        yield Finding(package, OK, importlib.metadata.version(package))


def _mpi() -> Iterator[Finding]:
    """Yield findings on the library, its launcher and a world of two ranks, up to the first failure."""
    subject = "MPI library"
    try:
        library = launcher.find_library()
        text = f"{library.vendor} {library.version} ({library.file or 'path unknown'})"
        yield Finding(subject, OK, text)
        subject = "launcher"
        mpiexec = launcher.find_launcher()
    except WorldError as error:
        yield Finding(subject, FAIL, *str(error).rsplit(": ", 1))
        return
    yield _launcher(library, mpiexec)
    yield from _path(mpiexec)
    yield from _two_ranks()


def _launcher(library: launcher.Library, mpiexec: launcher.Launcher) -> Finding:
    text = f"{mpiexec.path} ({mpiexec.family} {mpiexec.version})"
    if library.vendor == mpiexec.family and library.version != mpiexec.version:
        remedy = "two installations of MPI are mixed: load one MPI module, or install one extra"
        return Finding("launcher", WARN, f"{text}, but the library has version {library.version}", remedy)
    return Finding("launcher", OK, text)


def _path(mpiexec: launcher.Launcher) -> Iterator[Finding]:
    path = shutil.which("mpirun")
    other = launcher.identify(path) if path else None
    if other and other.family != mpiexec.family:
        remedy = f"start ranks with `mpi-fed run --ranks N` or {mpiexec.path}"
        yield Finding(
            "mpirun on PATH", WARN, f"{path} belongs to {other.family}: its ranks would not find each other", remedy
        )


def _two_ranks() -> Iterator[Finding]:
    started = time.monotonic()
    try:
        with launcher.command_for(2, [sys.executable, "-P", "-m", __package__]) as (command, variables):
            answer = subprocess.run(
                command,
                env=variables,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=TIMEOUT,
                check=False,
            )
        report = json.loads(answer.stdout)
    except subprocess.TimeoutExpired:
        remedy = "check that this host's name resolves (`getent hosts $(hostname)`) and that /dev/shm is not full"
        yield Finding("two ranks", FAIL, f"no answer within {TIMEOUT} s", remedy)
    except json.JSONDecodeError:
        line = next((text for text in answer.stderr.splitlines() if text.strip(" -=")), "no message")
        yield Finding("two ranks", FAIL, f"exit status {answer.returncode}: {line}")
    else:
        seconds = time.monotonic() - started
        text = f"a world of {report['size']} ranks on {report['host']}, started in {seconds:.1f} s"
        yield Finding("two ranks", OK if report["size"] == 2 else FAIL, text)
        yield _thread_level(report["thread_level"])
        yield _blas(report["blas_threads"])


def _thread_level(level: str) -> Finding:
    if level == "single":
        return Finding(
            "thread level", WARN, level, "this MPI library has no thread support; use an MPI library that has it"
        )
    return Finding("thread level", OK, level)


def _blas(threads: int) -> Finding:
    text = f"{threads} per rank (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')})"
    remedy = "ranks would compete for cores: unset OMP_NUM_THREADS" if threads > 1 else ""
    return Finding("BLAS threads", WARN if threads > 1 else OK, text, remedy)


def _machine() -> Iterator[Finding]:
    cores = launcher.cores()
    settings: dict[str, str] = {}
    environment.tune_mpi(settings, crowded=True)
    chosen = " ".join(f"{name}={value}" for name, value in settings.items())
    yield Finding(
        "cores", OK, f"{cores}; more ranks than cores run with {chosen}, and with --oversubscribe of Open MPI"
    )
    if os.geteuid() == 0:
        text = "allowed by `mpi-fed run --ranks`; Open MPI's own mpirun needs --allow-run-as-root"
        yield Finding("run as root", OK, text)
    if Path("/dev/shm").is_dir():
        free = shutil.disk_usage("/dev/shm").free // 10**6
        scarce = free < SHARED_MEMORY
        remedy = "remove the files that killed jobs left there; in a container, raise --shm-size" if scarce else ""
        yield Finding("shared memory", WARN if scarce else OK, f"{free} MB free in /dev/shm", remedy)


def _cache() -> Iterator[Finding]:
    from ..engine import compilation

    if not compilation.COMPILED:
        yield Finding("compile cache", OK, "compilation is off")
        return
    lost = compilation.FOLDER.parent == Path(tempfile.gettempdir())
    remedy = "every start compiles again: set MPI_FED_CACHE_DIR to a folder that you can write" if lost else ""
    yield Finding("compile cache", WARN if lost else OK, str(compilation.FOLDER), remedy)


def _hdf5() -> Iterator[Finding]:
    import h5py

    yield Finding("HDF5", OK, f"{h5py.version.hdf5_version}, h5py {h5py.version.version}")


def _slurm() -> Iterator[Finding]:
    srun = shutil.which("srun")
    if srun is None:
        yield Finding("Slurm", OK, "not installed on this machine")
        return
    version = subprocess.run([srun, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    job = f", inside job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
    yield Finding("Slurm", OK, f"{version}{job}")
