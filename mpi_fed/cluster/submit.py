"""`mpi-fed submit`: what a study lacks, as Slurm array jobs."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ..errors import InputError, WorldError
from ..launch import launcher
from ..log.writer import is_finished, log_path
from ..study.configuration import Configuration
from ..study.load import Study
from ..study.plan import load_studies, make_plan
from ..text import plain
from . import speed_estimate, submission
from .batch_script import Job, script
from .resources import Resources, from_command_line
from .speed_estimate import START_UP, Speed
from .status import in_progress, read_progress
from .submission import Entry, Submission

TASKS = 8
"""The most ranks of a job that is not told how many."""
CLIENTS = 4
"""The ranks of a job that is not told, of a study that does not say how many clients it has."""
LONGEST_ARRAY = 1000
"""Tasks of an array: Slurm's own default limit."""
SRUN = ["srun", "-K1", "--mpi=pmi2"]


@dataclass(frozen=True)
class Work:
    """What a study lacks, in tasks of one or more configurations each, and how long that may take."""

    study: Study
    folder: Path
    held: Submission | None
    tasks: list[list[Configuration]]
    seconds: dict[str, float]
    speeds: dict[str, Speed]


def main(given: Namespace) -> int:
    """Submit the studies, or with --dry-run print the scripts; the exit status."""
    asked = from_command_line(given)
    studies, asked = _studies(given, asked)
    if not given.dry_run and shutil.which("sbatch") is None:
        raise InputError("sbatch is not on PATH: submit where Slurm is, or look at the script with --dry-run")
    launcher = asked.launch or _launcher(asked.nodes or 1, _ranks(asked))
    whole = load_studies(given.studies, given.set, None, _ranks(asked), given.variant)
    works = [_work(given, asked, study) for study in studies]
    asked = _with_time(asked, works)
    _check_budget(given, asked, works)
    for work in works:
        jobs = [_job(given, asked, launcher, work, tasks) for tasks in _arrays(work.tasks)]
        scripts = [script(job) for job in jobs]
        if given.dry_run:
            print("\n".join(scripts), end="")
        else:
            _submit(work, next(study for study in whole if study.name == work.study.name), scripts)
    if not given.dry_run:
        _say(f"`mpi-fed status {shlex.quote(given.out)}` tells how far it is")
    return 0


def _studies(given: Namespace, asked: Resources) -> tuple[Sequence[Study], Resources]:
    """The studies, checked for the number of ranks, and the resources with that number settled."""
    nodes = asked.nodes or 1
    tasks = asked.tasks_per_node
    if tasks is None:
        loaded = load_studies(given.studies, given.set, given.only, CLIENTS * nodes, given.variant)
        fewest = min(c.clients for study in loaded for c in study.configurations)
        tasks = max(1, min(TASKS, fewest // nodes))
    plan = make_plan(given.studies, given.out, given.set, given.only, nodes * tasks, given.variant, here=0)
    settled = {"nodes": nodes, "tasks_per_node": tasks, "cpus_per_task": asked.cpus_per_task or 1}
    return plan.studies, asked.model_copy(update=settled)


def _ranks(asked: Resources) -> int:
    return (asked.nodes or 1) * (asked.tasks_per_node or 1)


def _launcher(nodes: int, ranks: int) -> list[str]:
    """The words that start the ranks of the MPI found here, inside a job."""
    try:
        library = launcher.find_library()
        if library.family == "Open MPI":
            return [_beside(launcher.find_launcher().path), "-n", str(ranks)]
        if library.vendor == "MPICH" and nodes > 1:  # whose ranks may not meet under srun: see docs/cluster.md
            return [launcher.find_launcher().path, "-n", str(ranks)]
        return SRUN
    except WorldError as error:
        raise InputError(f"{error}; or give a --profile with launcher") from None


def _beside(path: str) -> str:
    """mpirun in place of an mpiexec: Open MPI has both."""
    other = os.path.join(os.path.dirname(path), "mpirun")
    return other if os.path.exists(other) else path


def _work(given: Namespace, asked: Resources, study: Study) -> Work:
    """What is to be submitted of a study: not what is done, and not what is queued or running."""
    folder = Path(given.out).absolute() / study.name
    held = submission.load(folder)
    jobs = held.jobs if held else {}
    queued = submission.queue(jobs.values())
    missing: dict[str, int] = {}
    busy = 0
    for configuration in study.configurations:
        path = log_path(folder, configuration)
        if jobs.get(configuration.id) in queued or in_progress(path):
            busy += 1
        elif not is_finished(path, configuration):
            log = read_progress(path)
            missing[configuration.id] = len(set(configuration.seeds) - set(log.finished if log else ()))
    wanted = [c for c in study.configurations if c.id in missing]
    done = len(study.configurations) - len(wanted) - busy
    _say(f"{study.name}: {done} done, {busy} queued or running, {len(wanted)} to submit")
    speeds = speed_estimate.speeds(wanted, folder, _ranks(asked), given.plugin, measure=not given.no_estimate)
    seconds = {c.id: speed_estimate.seconds_of(c, missing[c.id], speeds[c.id]) for c in wanted if c.id in speeds}
    tasks = _bundles(wanted, seconds, 60.0 * given.bundle_minutes)
    return Work(study, folder, held, tasks, seconds, speeds)


def _bundles(
    configurations: Sequence[Configuration], seconds: dict[str, float], longest: float
) -> list[list[Configuration]]:
    """Tasks of one configuration, or of consecutive ones for as long as they last `longest` seconds together."""
    tasks: list[list[Configuration]] = []
    total = math.inf
    for configuration in configurations:
        own = seconds.get(configuration.id, math.inf)
        if total + own > longest:
            tasks.append([])
            total = 0.0
        tasks[-1].append(configuration)
        total += own
    return tasks


def _arrays(tasks: list[list[Configuration]]) -> Iterator[list[list[Configuration]]]:
    for first in range(0, len(tasks), LONGEST_ARRAY):
        yield tasks[first : first + LONGEST_ARRAY]


def _with_time(asked: Resources, works: Sequence[Work]) -> Resources:
    """With a time limit, if none is given and it can be told: three times the longest task and ten minutes more."""
    if asked.time is not None or not any(work.tasks for work in works):
        return asked
    if any(c.id not in work.seconds for work in works for task in work.tasks for c in task):
        return asked
    longest = max(sum(work.seconds[c.id] for c in task) for work in works for task in work.tasks)
    minutes = min(24 * 60, 10 + math.ceil(3 * longest / 60))
    _say(f"no --time is given: {timedelta(minutes=minutes)}, from the estimate; a longer task saves and goes on")
    return asked.model_copy(update={"time": str(minutes)})


def _check_budget(given: Namespace, asked: Resources, works: Sequence[Work]) -> None:
    """Say what all of it may cost, and refuse what is above --max-core-hours."""
    configurations = [(work, c) for work in works for task in work.tasks for c in task]
    unknown = [c for work, c in configurations if c.id not in work.seconds]
    if unknown:
        if given.max_core_hours is not None:
            raise InputError("--max-core-hours: without an estimate nothing is known; leave --no-estimate out")
        _say(f"no estimate: {len(unknown)} configurations have no log here to estimate from")
        return
    ranks, cores = _ranks(asked), _ranks(asked) * (asked.cpus_per_task or 1)
    high = sum(work.seconds[c.id] for work, c in configurations) * cores / 3600
    low = 0.0
    for work, c in configurations:
        speed = work.speeds[c.id]
        computing = (work.seconds[c.id] - START_UP) * min(1, speed.ranks / ranks)
        low += (START_UP + computing) * cores / 3600
    sources = sorted({work.speeds[c.id].source for work, c in configurations})
    if configurations:
        _say(
            f"estimate: {low:.3g} to {high:.3g} core-hours on {cores} cores a task, from rounds of "
            f"{' and '.join(sources)} (the first if {ranks} ranks share the work without loss, the second if they "
            f"gain nothing; another CPU or a slow network adds a factor of its own)"
        )
    if given.max_core_hours is not None and high > given.max_core_hours:
        raise InputError(
            f"--max-core-hours {given.max_core_hours:g}: the estimate is {high:.3g}; raise it, or run less "
            f"(--only, fewer repetitions, fewer ranks)"
        )


def _job(
    given: Namespace, asked: Resources, launcher: list[str], work: Work, tasks: list[list[Configuration]]
) -> Job:
    count = sum(map(len, tasks))
    program = [asked.python or sys.executable, "-P", "-m", "mpi_fed"]
    options = [f"--out={Path(given.out).absolute()}", "--no-analyze"]
    options += [f"--checkpoint-seconds={given.checkpoint_seconds:g}"]
    options += [f"--set={override}" for override in given.set]
    options += [f"--variant={given.variant}"] if given.variant else []
    options += [f"--plugin={Path(plugin).absolute()}" for plugin in given.plugin]
    return Job(
        name=work.study.name,
        about=f"{work.study.name}: {count} configurations in {len(tasks)} tasks, made by mpi-fed submit",
        tasks=[[c.file_name for c in task] for task in tasks],
        folder=work.folder,
        ranks=_ranks(asked),
        launch=launcher,
        run=[*program, "run", str(work.study.path.absolute()), *options],
        resources=asked,
    )


def _submit(work: Work, whole: Study, scripts: Sequence[str]) -> None:
    """Hand the scripts to sbatch, and note after each which configuration is in which task."""
    if not scripts:
        return
    with submission.alone(work.folder):
        if submission.load(work.folder) != work.held:
            raise InputError(f"{work.folder}: another command has submitted meanwhile; look at mpi-fed status")
        jobs: dict[str, str] = {}
        for text, tasks in zip(scripts, _arrays(work.tasks), strict=True):
            array = _sbatch(text)
            jobs |= {c.id: f"{array}_{task}" for task, those in enumerate(tasks) for c in those}
            submission.save(work.folder, _noted(work, whole, jobs))
            print(f"{work.study.name}: array job {array}, output in {work.folder / 'jobs'}")


def _noted(work: Work, whole: Study, jobs: dict[str, str]) -> Submission:
    """All configurations of the study, and those of its earlier versions that have a job or a log."""
    before = {entry.id: entry for entry in work.held.entries} if work.held else {}
    entries = []
    for c in whole.configurations:
        old = before.pop(c.id, None)
        job = jobs.get(c.id) or (old.job if old else None)
        entries.append(Entry(c.id, c.file_name, c.label, c.position, c.rounds, list(c.seeds), job))
    entries += [old for old in before.values() if old.job or (work.folder / old.file_name).exists()]
    return Submission(whole.name, str(whole.path.absolute()), entries)


def _sbatch(text: str) -> str:
    """The id of the job that sbatch makes of a script."""
    answer = subprocess.run(["sbatch", "--parsable"], input=text, capture_output=True, text=True)
    array = answer.stdout.strip().partition(";")[0]
    if answer.returncode or not array.isdecimal():
        said = plain((answer.stderr.strip().splitlines() or ["nothing"])[-1])
        raise InputError(f"sbatch does not take the job, saying: {said}")
    return array


def _say(text: str) -> None:
    print(f"mpi-fed: {plain(text)}", file=sys.stderr, flush=True)
