"""Read points from logs. Each point is a configuration on a number of ranks, with the times of one or more logs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...log import schema
from ...log.reader import Log

Floats = NDArray[np.float64]

SETTING = tuple(
    attribute.name
    for attribute in (
        schema.CPU,
        schema.MPI_LIBRARY,
        schema.PACKAGE_VERSION,
        schema.PYTHON_VERSION,
        schema.DEPENDENCY_VERSIONS,
        schema.DATASET_DIGEST,
        schema.INITIAL_DIGEST,
        schema.PLUGIN_MODULES,
    )
)
"""Attributes in which logs must agree so that their times differ only because of the ranks: machines, versions, and
the data and plugins that a configuration only names."""
WARM_UP = 0.1
"""Share of the rounds at the start that is left out, because memory is first touched there."""


@dataclass(frozen=True)
class Launch:
    """The times and ranks of one log. The log comes from one launch, which is one start of the ranks."""

    log: Log
    ranks: int
    seconds: Floats
    """Seconds a round in each complete repetition (shape (R,))."""
    phases: Floats
    """Seconds a round in each of 7 phases: minimum, mean and maximum over ranks (shape (R', 7, 3)).

    R' <= R is the number of repetitions whose phases are known."""
    hosts: int | None
    """Number of hosts; None if the log lacks it."""
    cores: int | None
    """Number of logical cores on which ranks may run, over all hosts; None if the log lacks it."""
    crowded: bool | None
    """True if some ranks outnumber the cores on which they may run; None if the log lacks the cores."""


@dataclass(frozen=True)
class Point:
    """A configuration on a number of ranks, in one setting."""

    key: str
    """The configuration without its name, seeds and number of clients, as JSON."""
    setting: str
    """The values of SETTING, as JSON."""
    clients: int
    ranks: int
    launches: tuple[Launch, ...]

    @property
    def log(self) -> Log:
        """The log of the first launch."""
        return self.launches[0].log

    @property
    def seconds(self) -> Floats:
        """Seconds a round (shape (S,)): the geometric mean of each launch, or the repetitions of a single launch."""
        logs = [np.log(launch.seconds) for launch in self.launches]
        return np.exp(logs[0] if len(logs) == 1 else [each.mean() for each in logs])

    @property
    def phases(self) -> Floats:
        """Seconds a round in each phase (shape (S, 7, 3)): the mean of each launch, or the repetitions; S may be 0."""
        samples = [launch.phases for launch in self.launches if len(launch.phases)]
        if len(samples) < 2:
            return samples[0] if samples else np.empty((0, 7, 3))
        return np.array([each.mean(axis=0) for each in samples])


def launch_of(log: Log) -> Launch:
    """Return the ranks and times of a log. Raises InputError if its ranks or times cannot be used."""
    ranks = int(log.attributes.get(schema.RANKS.name, 0))
    if not 1 <= ranks <= log.clients:
        raise InputError(
            f"{log.path}: has {log.clients:,} clients on {ranks:,} ranks, so its number of ranks is wrong or missing; "
            "run the study again or leave this log out"
        )
    if not log.complete.any():
        raise InputError(f"{log.path}: no repetition is complete; run the study to its end")
    seconds = seconds_a_round(log)
    if not (np.isfinite(seconds) & (seconds > 0)).all():
        raise InputError(
            f"{log.path}: its {schema.WALL_SECONDS.name} do not increase, so a round has no time; run the study again "
            "or leave this log out"
        )
    phases = log.dataset(schema.PHASE_SECONDS.name)
    samples = np.empty((0, 7, 3)) if phases is None or phases.shape[1:] != (7, 3) else phases[log.complete]
    samples = samples[np.isfinite(samples).all(axis=(1, 2))]  # a repetition resumed near its end may lack phases
    cores, crowded = cores_of(log.attributes.get(schema.RANK_CORES.name))
    return Launch(
        log=log,
        ranks=ranks,
        seconds=seconds,
        phases=samples,
        hosts=hosts_of(log),
        cores=cores,
        crowded=crowded,
    )


def seconds_a_round(log: Log) -> Floats:
    """Return the seconds a round of each complete repetition (shape (R,)).

    The time from the last log point within the first WARM_UP of the rounds to round K is divided by the number of
    rounds between them.
    """
    first = int(np.flatnonzero(log.round <= WARM_UP * log.rounds)[-1])
    clock = log.wall_seconds[log.complete]
    return (clock[:, -1] - clock[:, first]) / max(1, log.rounds - int(log.round[first]))


def hosts_of(log: Log) -> int | None:
    """Return the number of hosts, or None if the log lacks it."""
    names = parsed(log.attributes.get(schema.HOST_NAMES.name))
    return len(names) if isinstance(names, list) and names else None


def cores_of(text: Any) -> tuple[int | None, bool | None]:
    """Return the number of cores in a log's `rank_cores`, and whether some ranks outnumber the cores that they share.

    Both are None if the text is not usable.
    """
    hosts = parsed(text)
    try:
        places = [[(numbers(cores), len(numbers(ranks))) for cores, ranks in host.items()] for host in hosts.values()]
    except (AttributeError, ValueError, TypeError):
        return None, None
    if not places or not all(cores for host in places for cores, _ in host):
        return None, None
    unions = [set[int]().union(*(cores for cores, _ in host)) for host in places]
    crowded = any(
        sum(ranks for cores, ranks in host if cores <= those) > len(those)
        for host, union in zip(places, unions, strict=True)
        for those in [union, *(cores for cores, _ in host)]
    )
    return sum(map(len, unions)), crowded


def numbers(text: str) -> set[int]:
    """Return the numbers of a text of ranges: {0, 1, 2, 5} for "0-2,5"."""
    ends = [[int(end) for end in part.split("-")] for part in text.split(",") if part]
    return {number for end in ends for number in range(end[0], end[-1] + 1)}


def parsed(text: Any) -> Any:
    """Return the value of an attribute in JSON, or None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return None


def points_of(launches: Iterable[Launch]) -> list[Point]:
    """Return points, each with all launches of a configuration, setting and number of ranks; copies are ignored."""
    places: dict[tuple[str, str, int, int], list[Launch]] = {}
    for launch in launches:
        log = launch.log
        where = (key_of(log), setting_of(log), log.clients, launch.ranks)
        launches_there = places.setdefault(where, [])
        clocks = [other.log.wall_seconds for other in launches_there]
        if not any(np.array_equal(log.wall_seconds, clock, equal_nan=True) for clock in clocks):
            launches_there.append(launch)
    return [Point(*where, tuple(launches_there)) for where, launches_there in places.items()]


def key_of(log: Log) -> str:
    """Return the configuration without the name, the seeds and the number of clients, as JSON."""
    left_out = ("name", "repetitions", "clients")
    study = {key: value for key, value in log.configuration["study"].items() if key not in left_out}
    return json.dumps({**log.configuration, "study": study}, sort_keys=True)


def setting_of(log: Log) -> str:
    """Return the values of SETTING in a log, as JSON."""
    return json.dumps({name: log.attributes.get(name) for name in SETTING}, sort_keys=True)


def differing(settings: Sequence[str]) -> list[str]:
    """Return the names of the attributes in which these settings differ."""
    tables = [json.loads(setting) for setting in settings]
    return [name for name in SETTING if any(table[name] != tables[0][name] for table in tables)]
