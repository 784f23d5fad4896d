"""What a study lacks: neither done, nor queued, nor running. In tasks, and with the time that they may take."""

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
"""Tasks of an array: Slurm's own default limit."""

Task = list[Configuration]
"""The configurations that one array task runs, one after the other."""


@dataclass(frozen=True)
class MissingWork:
    """What a study lacks. `seconds` and `speeds` are by the configuration's id, where they are known."""

    study: Study
    folder: Path
    submitted: Submission | None
    """What was submitted before."""
    tasks: list[Task]
    seconds: dict[str, float]
    speeds: dict[str, Speed]


def find_missing(study: Study, options: RunOptions, ranks: int, longest: float, measure: bool) -> MissingWork:
    """What the study lacks, in tasks of at most `longest` seconds where a task has several configurations.

    `measure`: measure here how long a round takes where no log says it.
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
    """Tasks of one configuration, or of consecutive ones for as long as they last `longest` seconds together."""
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
    """The tasks, split into arrays of a length that Slurm takes."""
    for first in range(0, len(tasks), LONGEST_ARRAY):
        yield tasks[first : first + LONGEST_ARRAY]
