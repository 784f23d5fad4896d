"""The time limit of a job, and what all jobs may cost, from estimates of how long a round takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

from ..errors import InputError
from ..study.configuration import Configuration
from ..terminal.console import say
from .missing_work import MissingWork
from .resources import Resources
from .speed_estimate import START_UP

LONGEST = 24 * 60
"""Minutes of the longest time limit that an estimate gives."""


def with_time_limit(resources: Resources, works: Sequence[MissingWork]) -> Resources:
    """The resources with a time limit: if none is given, three times the longest task and ten minutes more.

    Without a limit where the length of a task is not known.
    """
    configurations = _configurations(works)
    if resources.time is not None or not configurations or _without_estimate(configurations):
        return resources
    longest = max(sum(work.seconds[c.id] for c in task) for work in works for task in work.tasks)
    minutes = min(LONGEST, 10 + math.ceil(3 * longest / 60))
    say(f"no --time is given: {timedelta(minutes=minutes)}, from the estimate; a longer task saves and goes on")
    return resources.model_copy(update={"time": str(minutes)})


def check_budget(works: Sequence[MissingWork], resources: Resources, max_core_hours: float | None) -> None:
    """Say what all of it may cost. Raises InputError where that is above --max-core-hours."""
    configurations = _configurations(works)
    unknown = _without_estimate(configurations)
    if unknown:
        if max_core_hours is not None:
            raise InputError("--max-core-hours: without an estimate nothing is known; leave --no-estimate out")
        say(f"no estimate: {len(unknown)} configurations have no log here to estimate from")
        return
    ranks, cores = resources.ranks, resources.cores
    high = sum(work.seconds[c.id] for work, c in configurations) * cores / 3600
    low = sum(_seconds_without_loss(work, c, ranks) for work, c in configurations) * cores / 3600
    sources = sorted({work.speeds[c.id].source for work, c in configurations})
    if configurations:
        say(
            f"estimate: {low:.3g} to {high:.3g} core-hours on {cores} cores a task, from rounds of "
            f"{' and '.join(sources)} (the first if {ranks} ranks share the work without loss, the second if they "
            f"gain nothing; another CPU or a slow network adds a factor of its own)"
        )
    if max_core_hours is not None and high > max_core_hours:
        raise InputError(
            f"--max-core-hours {max_core_hours:g}: the estimate is {high:.3g}; raise it, or run less "
            f"(--only, fewer repetitions, fewer ranks)"
        )


def _configurations(works: Sequence[MissingWork]) -> list[tuple[MissingWork, Configuration]]:
    return [(work, configuration) for work in works for task in work.tasks for configuration in task]


def _without_estimate(configurations: Sequence[tuple[MissingWork, Configuration]]) -> list[Configuration]:
    return [configuration for work, configuration in configurations if configuration.id not in work.seconds]


def _seconds_without_loss(work: MissingWork, configuration: Configuration, ranks: int) -> float:
    """Seconds of a configuration if all ranks share the work of those that were measured."""
    speed = work.speeds[configuration.id]
    return START_UP + (work.seconds[configuration.id] - START_UP) * min(1, speed.ranks / ranks)
