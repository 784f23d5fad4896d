"""The missing work of a study: configurations that are not done, queued or running, as tasks with estimated times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..log.writer import is_finished, log_path
from ..study.configuration import Configuration
from ..study.load import Study
from ..study.run_options import RunOptions
from ..terminal.console import say
from . import speed_estimate, submission
from .speed_estimate import Speed
from .status import in_progress, read_progress
from .submission import Submission

LONGEST_ARRAY = 1000
"""Largest number of tasks of an array: Slurm's default limit."""

Task = list[Configuration]
"""Configurations that one array task runs one after another."""


@dataclass(frozen=True)
class MissingWork:
    """The missing configurations of a study. `seconds` and `speeds` hold the known estimates, by configuration id."""

    study: Study
    folder: Path
    submitted: Submission | None
    """The earlier submission, if any."""
    tasks: list[Task]
    seconds: dict[str, float]
    speeds: dict[str, Speed]


def find_missing(study: Study, options: RunOptions, ranks: int, longest: float, measure: bool) -> MissingWork:
    """Return the missing work. Tasks with several configurations take at most `longest` seconds.

    With `measure`, the time of a round is measured here for configurations without an earlier log.
    """
    folder = Path(options.out).absolute() / study.name
    submitted = submission.load(folder)
    jobs = submitted.jobs if submitted else {}
    queued = submission.queue(jobs.values())
    repetitions: dict[str, int] = {}
    busy = 0
    for configuration in study.configurations:
        path = log_path(folder, configuration)
        if jobs.get(configuration.id) in queued or in_progress(path):
            busy += 1
        elif not is_finished(path, configuration):
            log = read_progress(path)
            repetitions[configuration.id] = len(set(configuration.seeds) - set(log.finished if log else ()))
    missing = [c for c in study.configurations if c.id in repetitions]
    done = len(study.configurations) - len(missing) - busy
    say(f"{study.name}: {done} done, {busy} queued or running, {len(missing)} to submit")
    speeds = speed_estimate.speeds(missing, folder, ranks, options.plugins, measure=measure)
    seconds = {c.id: speed_estimate.seconds_of(c, repetitions[c.id], speeds[c.id]) for c in missing if c.id in speeds}
    return MissingWork(
        study=study,
        folder=folder,
        submitted=submitted,
        tasks=bundles(missing, seconds, longest),
        seconds=seconds,
        speeds=speeds,
    )


def bundles(configurations: Sequence[Configuration], seconds: dict[str, float], longest: float) -> list[Task]:
    """Return tasks of one configuration, or of consecutive configurations that together take at most `longest` s."""
    tasks: list[Task] = []
    total = math.inf
    for configuration in configurations:
        length = seconds.get(configuration.id, math.inf)
        if total + length > longest:
            tasks.append([])
            total = 0.0
        tasks[-1].append(configuration)
        total += length
    return tasks


def arrays(tasks: list[Task]) -> Iterator[list[Task]]:
    """Split the tasks into arrays of at most LONGEST_ARRAY tasks."""
    for first in range(0, len(tasks), LONGEST_ARRAY):
        yield tasks[first : first + LONGEST_ARRAY]
