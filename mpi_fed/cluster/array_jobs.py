"""Submit a study's missing configurations to sbatch as an array job."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import InputError, WorldError
from ..launch import launcher
from ..study.configuration import Configuration
from ..study.load import Study
from ..study.run_options import RunOptions
from ..text import plain
from . import submission
from .batch_script import Job
from .missing_work import MissingWork, Task, arrays
from .resources import Resources
from .submission import Entry, Submission

SRUN = ["srun", "-K1", "--mpi=pmi2"]


def launcher_words(resources: Resources) -> list[str]:
    """Return the words of the command that starts the ranks inside a job, for the MPI found on this machine."""
    try:
        library = launcher.find_library()
        if library.family == "Open MPI":
            return [_mpirun_beside(launcher.find_launcher().path), "-n", str(resources.ranks)]
        if (
            library.vendor == "MPICH" and (resources.nodes or 1) > 1
        ):  # srun may fail to connect them: see docs/cluster.md
            return [launcher.find_launcher().path, "-n", str(resources.ranks)]
        return SRUN
    except WorldError as error:
        raise InputError(f"{error}; or give a --profile with the key launcher") from None


def _mpirun_beside(mpiexec: str) -> str:
    """Return the path of the mpirun next to an mpiexec, if there is one: Open MPI has both."""
    mpirun = os.path.join(os.path.dirname(mpiexec), "mpirun")
    return mpirun if os.path.exists(mpirun) else mpiexec


def make_job(
    options: RunOptions, resources: Resources, launch: Sequence[str], work: MissingWork, tasks: Sequence[Task]
) -> Job:
    """Return the array job of these tasks."""
    configurations = sum(map(len, tasks))
    of_task = replace(
        options,
        studies=(str(work.study.path.absolute()),),
        out=str(Path(options.out).absolute()),
        plugins=tuple(str(Path(plugin).absolute()) for plugin in options.plugins),
        only=None,
    )
    return Job(
        name=work.study.name,
        about=f"{work.study.name}: {configurations} configurations in {len(tasks)} tasks, made by mpi-fed submit",
        tasks=[[c.file_name for c in task] for task in tasks],
        folder=work.folder,
        ranks=resources.ranks,
        launch=launch,
        run=[resources.python or sys.executable, "-P", "-m", "mpi_fed", *of_task.to_argv()],
        resources=resources,
    )


def submit_scripts(work: MissingWork, study: Study, scripts: Sequence[str]) -> None:
    """Submit the scripts, and after each one save the task of each configuration of the whole study.

    Raises InputError if another command has submitted the study since `work` was found, or if sbatch fails.
    """
    if not scripts:
        return
    with submission.lock_submission(work.folder):
        if submission.load(work.folder) != work.submitted:
            raise InputError(
                f"{work.folder}: another command has submitted this study in the meantime; check mpi-fed status, "
                f"then submit again"
            )
        jobs: dict[str, str] = {}
        for script, tasks in zip(scripts, arrays(work.tasks), strict=True):
            array = _sbatch(script)
            jobs |= {c.id: f"{array}_{number}" for number, task in enumerate(tasks) for c in task}
            submission.save(work.folder, _updated_submission(work, study, jobs))
            print(f"{work.study.name}: array job {array}, output in {work.folder / 'jobs'}")


def _updated_submission(work: MissingWork, study: Study, jobs: dict[str, str]) -> Submission:
    """Return all configurations of the study, and those configurations of earlier versions that have a job or a log."""
    before = {entry.id: entry for entry in work.submitted.entries} if work.submitted else {}
    entries = []
    for c in study.configurations:
        old = before.pop(c.id, None)
        job = jobs.get(c.id) or (old.job if old else None)
        entries.append(_entry(c, job))
    entries += [old for old in before.values() if old.job or (work.folder / old.file_name).exists()]
    return Submission(study.name, str(study.path.absolute()), entries)


def _entry(configuration: Configuration, job: str | None) -> Entry:
    return Entry(
        id=configuration.id,
        file_name=configuration.file_name,
        label=configuration.label,
        position=configuration.position,
        rounds=configuration.rounds,
        seeds=list(configuration.seeds),
        job=job,
    )


def _sbatch(script: str) -> str:
    """Submit a script and return the id of its job. Raises InputError if sbatch fails."""
    answer = subprocess.run(["sbatch", "--parsable"], input=script, capture_output=True, text=True, check=False)
    array = answer.stdout.strip().partition(";")[0]
    if answer.returncode or not array.isdecimal():
        message = plain((answer.stderr.strip().splitlines() or ["without a message"])[-1])
        raise InputError(f"sbatch refused the job ({message}); correct the options or the profile")
    return array
