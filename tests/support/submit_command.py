"""Helpers for tests of `mpi-fed submit` in the current folder: a study, printed scripts, stand-ins for Slurm."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mpi_fed.cli.main import main
from mpi_fed.launch import launcher
from support.study_text import write_study

PATIENCE = 60
PROFILE = """
launcher = "{launcher}"
"""
LAUNCHER = """#!{python}
import json, os, signal, sys, time
if os.path.exists("listen"):
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(85))
with open("calls", "a") as calls:
    calls.write(json.dumps({{"argv": sys.argv[1:], "ranks": os.environ.get("MPI_FED_RANKS")}}) + chr(10))
if os.path.exists("listen"):
    time.sleep(60)
statuses = open("statuses").read().split() if os.path.exists("statuses") else []
number = len(open("calls").readlines()) - 1
sys.exit(int(statuses[number]) if number < len(statuses) else 0)
"""


def use_library(monkeypatch: pytest.MonkeyPatch, vendor: str) -> None:
    monkeypatch.setattr(launcher, "find_library", lambda: launcher.Library(vendor, "1", None))
    monkeypatch.setattr(launcher, "find_launcher", lambda: launcher.Launcher("/mpi/bin/mpiexec", vendor, "1"))


def write_grid(path: str = "study.toml", dimensions: Sequence[int] = (10, 20), clients: int | None = 2) -> str:
    """Write a study with one configuration for each dimension, and return its path."""
    write_study(path, rounds=1000, repetitions=2, clients=clients, problem={"dimension": list(dimensions)})
    return path


def scripts(capsys: pytest.CaptureFixture[str], *options: str, study: str | None = None) -> tuple[str, str]:
    """Return the script that --dry-run prints, checked to be valid bash, and its messages."""
    assert main(["submit", study or write_grid(), "--dry-run", *options]) == 0
    output = capsys.readouterr()
    check = subprocess.run(["bash", "-n"], input=output.out, text=True, capture_output=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")
    return output.out, output.err


def directives(script: str) -> list[str]:
    """Return the #SBATCH lines as sbatch reads them: it stops at the first line of shell."""
    found = []
    for line in script.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#SBATCH "):
            found.append(line.removeprefix("#SBATCH "))
    return found


def refusal(capsys: pytest.CaptureFixture[str], *options: str, study: str | None = None) -> str:
    study = study or write_grid()
    before = sorted(Path().rglob("*"))
    assert main(["submit", study, "--dry-run", *options]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert sorted(Path().rglob("*")) == before
    *_, line = output.err.splitlines()
    assert line.startswith("mpi-fed: ")
    return line


def recording_launcher() -> list[str]:
    """Return options that make the script start a program that records its arguments."""
    path = Path("launcher").absolute()
    path.write_text(LAUNCHER.format(python=sys.executable))
    path.chmod(0o755)
    Path("launcher.toml").write_text(PROFILE.format(launcher=shlex.quote(str(path))))
    return ["--profile=launcher.toml"]


def calls() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("calls").read_text().splitlines()]


def program(name: str, text: str) -> None:
    """Write a program to a folder on the PATH of scripts."""
    Path("bin").mkdir(exist_ok=True)
    path = Path("bin", name)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def start_script(script: str, task: int = 0, **variables: str) -> subprocess.Popen[str]:
    program("scontrol", 'echo "$*" >> requeued')
    Path("script").write_text(script)
    path = f"{Path('bin').absolute()}:{os.environ['PATH']}"
    numbers = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": "15"}
    environment = {**os.environ, "PATH": path, **numbers, "SLURMD_NODENAME": "n1", **variables}
    pipe = subprocess.PIPE
    return subprocess.Popen(["bash", "script"], env=environment, stdout=pipe, stderr=pipe, text=True)


def run_script(script: str, status: int = 0, **variables: str) -> str:
    with start_script(script, 0, **variables) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, errors
    return errors


def requeued() -> list[str]:
    return Path("requeued").read_text().splitlines() if Path("requeued").exists() else []
