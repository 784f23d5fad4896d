"""The time limit of a job and the cost of all jobs, from estimates of the time of a round."""

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
"""Longest time limit, in minutes, that is set from an estimate."""


def with_time_limit(resources: Resources, works: Sequence[MissingWork]) -> Resources:
    """Return the resources with a time limit: if none is given, three times the longest task plus ten minutes.

    No limit is added if the length of a task is not known.
    """
    configurations = _configurations(works)
    if resources.time is not None or not configurations or _without_estimate(configurations):
        return resources
    longest = max(sum(work.seconds[c.id] for c in task) for work in works for task in work.tasks)
    minutes = min(LONGEST, 10 + math.ceil(3 * longest / 60))
    say(
        f"no --time is given: {timedelta(minutes=minutes)} is used, from the estimate; a task that takes longer saves "
        f"its state and is continued"
    )
    return resources.model_copy(update={"time": str(minutes)})


def check_budget(works: Sequence[MissingWork], resources: Resources, max_core_hours: float | None) -> None:
    """Print the estimated cost. Raises InputError if it is above --max-core-hours."""
    configurations = _configurations(works)
    unknown = _without_estimate(configurations)
    if unknown:
        if max_core_hours is not None:
            raise InputError("--max-core-hours: this option needs an estimate; submit without --no-estimate")
        say(f"no estimate: {len(unknown)} configurations have no earlier log")
        return
    ranks, cores = resources.ranks, resources.cores
    high = sum(work.seconds[c.id] for work, c in configurations) * cores / 3600
    low = sum(_seconds_without_loss(work, c, ranks) for work, c in configurations) * cores / 3600
    sources = sorted({work.speeds[c.id].source for work, c in configurations})
    if configurations:
        say(
            f"estimate: {low:.3g} to {high:.3g} core-hours on {cores} cores for each task, from "
            f"{' and '.join(sources)} (the first number if {ranks} ranks share the work without loss, the second if "
            f"more ranks make no difference; another CPU or a slow network changes both)"
        )
    if max_core_hours is not None and high > max_core_hours:
        raise InputError(
            f"--max-core-hours {max_core_hours:g}: the estimate is {high:.3g} core-hours; raise the limit, or run less "
            f"(--only, fewer repetitions, fewer ranks)"
        )


def _configurations(works: Sequence[MissingWork]) -> list[tuple[MissingWork, Configuration]]:
    return [(work, configuration) for work in works for task in work.tasks for configuration in task]


def _without_estimate(configurations: Sequence[tuple[MissingWork, Configuration]]) -> list[Configuration]:
    return [configuration for work, configuration in configurations if configuration.id not in work.seconds]


def _seconds_without_loss(work: MissingWork, configuration: Configuration, ranks: int) -> float:
    """Return the seconds of a configuration if `ranks` ranks share the work of the measured ranks without loss."""
    speed = work.speeds[configuration.id]
    return START_UP + (work.seconds[configuration.id] - START_UP) * min(1, speed.ranks / ranks)
