"""The provenance of a log: where and how its numbers were computed, as attributes of its root group."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..launch import environment
from ..launch.world import World
from ..log import schema

SLURM = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
_DISTRIBUTION = "mpi-fed"


def collect(world: World) -> dict[str, str]:
    """Return the provenance of a log of this world at the root, {} elsewhere. Every rank calls it.

    Lists and mappings are JSON texts.
    """
    places = world.comm.gather((world.host, affinity(), cpu_model()))
    if places is None:
        return {}
    return {
        schema.COMMAND_LINE.name: shlex.join(sys.orig_argv),
        schema.PYTHON_VERSION.name: platform.python_version(),
        schema.PACKAGE_VERSION.name: importlib.metadata.version(_DISTRIBUTION),
        schema.DEPENDENCY_VERSIONS.name: json.dumps(dependency_versions()),
        schema.GIT_COMMIT.name: git_commit(Path(__file__).parent),
        schema.MPI_LIBRARY.name: world.library,
        schema.MPI_THREAD_LEVEL.name: world.thread_level,
        schema.RANKS.name: str(world.size),
        schema.HOST_NAMES.name: json.dumps(list(dict.fromkeys(host for host, _, _ in places))),
        schema.RANK_CORES.name: json.dumps(binding([(host, cores) for host, cores, _ in places])),
        schema.CPU.name: json.dumps(sorted({cpu for _, _, cpu in places})),
        schema.LAUNCHER.name: launcher(),
        schema.SLURM.name: json.dumps({name: os.environ[name] for name in SLURM if name in os.environ}),
        schema.START_TIME.name: datetime.now(UTC).isoformat(timespec="seconds"),
    }


def roster(world: World) -> str | None:
    """Return a text with the process of each rank, for MPICH's launcher in a Slurm job; None elsewhere.

    This launcher reports a killed process, but not its rank. Every rank calls it; only the root gets the text.
    """
    if "hydra" not in launcher() or "SLURM_JOB_ID" not in os.environ or environment.SCRATCH in os.environ:
        return None
    places = world.comm.gather((world.host, os.getpid()))
    if places is None:
        return None
    return ", ".join(f"rank {rank} is process {process} on {host}" for rank, (host, process) in enumerate(places))


def dependency_versions() -> dict[str, str]:
    """Return the versions of the required packages, and of llvmlite, numba's compiler."""
    required = importlib.metadata.requires(_DISTRIBUTION) or []
    names = [re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line]
    return {name: importlib.metadata.version(name) for name in sorted({*names, "llvmlite"})}


def git_commit(folder: Path) -> str:
    """Return the commit of the checkout that holds `folder`, with "-dirty" if files differ; "" outside a checkout."""
    if not any((parent / ".git").exists() for parent in folder.parents):
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown: git cannot be run"
    return answer.stdout.strip() or f"unknown: {answer.stderr.strip().splitlines()[0]}"


def affinity() -> str:
    """Return the logical cores on which this process may run, as "0-3,8"; "" if the system does not report them."""
    return ranges(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ""


def binding(places: Sequence[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Return host -> cores -> ranks that run on them, given each rank's (host, cores)."""
    ranks: dict[str, dict[str, list[int]]] = {}
    for rank, (host, cores) in enumerate(places):
        ranks.setdefault(host, {}).setdefault(cores, []).append(rank)
    return {host: {cores: ranges(numbers) for cores, numbers in sets.items()} for host, sets in ranks.items()}


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as ranges: {0, 1, 2, 5} gives "0-2,5"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def cpu_model() -> str:
    """Return the processor's name, or its architecture if the system does not report a name."""
    info = Path("/proc/cpuinfo")
    name = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return name[1] if name else platform.processor() or platform.machine()


def launcher() -> str:
    """Return the command line of the process that started this rank; "" if it cannot be read."""
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return ""
    return shlex.join(words)
