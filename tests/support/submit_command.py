"""`mpi-fed submit` in the current folder: a study, the scripts it prints, and Slurm's programs made up."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

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


def use_library(monkeypatch: pytest.MonkeyPatch, vendor) -> None:
    monkeypatch.setattr(launcher, "find_library", lambda: launcher.Library(vendor, "1", None))
    monkeypatch.setattr(launcher, "find_launcher", lambda: launcher.Launcher("/mpi/bin/mpiexec", vendor, "1"))


def write_grid(path="study.toml", dimensions=(10, 20), clients=2):
    """Write a study with a configuration for each dimension; returns its path."""
    write_study(path, rounds=1000, repetitions=2, clients=clients, problem={"dimension": list(dimensions)})
    return path


def scripts(capsys: pytest.CaptureFixture[str], *options, study=None):
    """What --dry-run prints, which is sound bash, and what it says beside it."""
    assert main(["submit", study or write_grid(), "--dry-run", *options]) == 0
    output = capsys.readouterr()
    check = subprocess.run(["bash", "-n"], input=output.out, text=True, capture_output=True)
    assert (check.returncode, check.stderr) == (0, "")
    return output.out, output.err


def directives(script):
    """The #SBATCH lines as sbatch finds them: it stops at the first line of shell."""
    found = []
    for line in script.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#SBATCH "):
            found.append(line.removeprefix("#SBATCH "))
    return found


def refusal(capsys: pytest.CaptureFixture[str], *options, study=None):
    study = study or write_grid()
    before = sorted(Path().rglob("*"))
    assert main(["submit", study, "--dry-run", *options]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert sorted(Path().rglob("*")) == before
    *_, line = output.err.splitlines()
    assert line.startswith("mpi-fed: ")
    return line


def recording_launcher():
    """Options with which the script starts a program that notes how it was called."""
    path = Path("launcher").absolute()
    path.write_text(LAUNCHER.format(python=sys.executable))
    path.chmod(0o755)
    Path("launcher.toml").write_text(PROFILE.format(launcher=shlex.quote(str(path))))
    return ["--profile=launcher.toml"]


def calls():
    return [json.loads(line) for line in Path("calls").read_text().splitlines()]


def program(name, text) -> None:
    """A program on the path of scripts."""
    Path("bin").mkdir(exist_ok=True)
    path = Path("bin", name)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def start_script(script, task=0, **variables):
    program("scontrol", 'echo "$*" >> requeued')
    Path("script").write_text(script)
    path = f"{Path('bin').absolute()}:{os.environ['PATH']}"
    numbers = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": "15"}
    own = {**os.environ, "PATH": path, **numbers, "SLURMD_NODENAME": "n1", **variables}
    return subprocess.Popen(["bash", "script"], env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_script(script, status=0, **variables):
    with start_script(script, **variables) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, errors
    return errors


def requeued():
    return Path("requeued").read_text().splitlines() if Path("requeued").exists() else []
