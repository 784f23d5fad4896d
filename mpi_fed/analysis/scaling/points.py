"""Points: a configuration on a number of ranks, with the times that one or more logs hold of it."""

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
"""Attributes in which logs must agree, if the difference between their times is to be that of their ranks: machines,
versions, and what a configuration names but does not hold."""
WARM_UP = 0.1
"""The share of the rounds, at the start, that is left out: memory is touched for the first time there."""


@dataclass(frozen=True)
class Launch:
    """What one log, so one start of the ranks, tells."""

    log: Log
    ranks: int
    seconds: Floats
    """(R) a round of each complete repetition."""
    phases: Floats
    """(R', 7, 3) seconds a round of each phase, the least, mean and greatest over ranks; R' <= R have them."""
    hosts: int | None
    cores: int | None
    """Logical cores on which ranks may run, over all hosts; None where the log does not tell, as of hosts."""
    crowded: bool | None
    """Whether some of the ranks are more than the cores that they may run on."""


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
        """One of its logs."""
        return self.launches[0].log

    @property
    def seconds(self) -> Floats:
        """(S) seconds a round: the geometric means of several launches, or the repetitions of a single one."""
        logs = [np.log(launch.seconds) for launch in self.launches]
        return np.exp(logs[0] if len(logs) == 1 else [each.mean() for each in logs])

    @property
    def phases(self) -> Floats:
        """(S, 7, 3), likewise; S may be 0."""
        samples = [launch.phases for launch in self.launches if len(launch.phases)]
        if len(samples) < 2:
            return samples[0] if samples else np.empty((0, 7, 3))
        return np.array([each.mean(axis=0) for each in samples])


def launch_of(log: Log) -> Launch:
    """What a log tells of its ranks and times. Raises InputError, one sentence, where it tells nothing."""
    ranks = int(log.attributes.get(schema.RANKS.name, 0))
    if not 1 <= ranks <= log.clients:
        raise InputError(
            f"{log.path}: is of {log.clients:,} clients on {ranks:,} ranks, so it does not say on how many it was made"
        )
    if not log.complete.any():
        raise InputError(f"{log.path}: no repetition is complete; run the study to its end")
    seconds = seconds_a_round(log)
    if not (np.isfinite(seconds) & (seconds > 0)).all():
        raise InputError(f"{log.path}: its {schema.WALL_SECONDS.name} do not rise; it has no time of a round")
    phases = log.dataset(schema.PHASE_SECONDS.name)
    samples = np.empty((0, 7, 3)) if phases is None or phases.shape[1:] != (7, 3) else phases[log.complete]
    samples = samples[np.isfinite(samples).all(axis=(1, 2))]  # what was taken up again near its end has timed no round
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
    """(R) of each complete repetition: the clock from the last log point within WARM_UP to K, over the rounds since."""
    first = int(np.flatnonzero(log.round <= WARM_UP * log.rounds)[-1])
    clock = log.wall_seconds[log.complete]
    return (clock[:, -1] - clock[:, first]) / max(1, log.rounds - int(log.round[first]))


def hosts_of(log: Log) -> int | None:
    """How many hosts the ranks were on."""
    names = parsed(log.attributes.get(schema.HOST_NAMES.name))
    return len(names) if isinstance(names, list) and names else None


def cores_of(text: Any) -> tuple[int | None, bool | None]:
    """From a log's `rank_cores`: how many cores the ranks may run on, and whether somewhere more ranks share fewer."""
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
    """{0, 1, 2, 5} of "0-2,5"."""
    ends = [[int(end) for end in part.split("-")] for part in text.split(",") if part]
    return {number for end in ends for number in range(end[0], end[-1] + 1)}


def parsed(text: Any) -> Any:
    """The value that an attribute spells in JSON, or None."""
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return None


def points_of(launches: Iterable[Launch]) -> list[Point]:
    """The launches of one configuration, setting and number of ranks together; a copy of a log counts once."""
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
    """The configuration but for the name, the seeds and the number of clients."""
    left_out = ("name", "repetitions", "clients")
    study = {key: value for key, value in log.configuration["study"].items() if key not in left_out}
    return json.dumps({**log.configuration, "study": study}, sort_keys=True)


def setting_of(log: Log) -> str:
    """Where and with what it was made."""
    return json.dumps({name: log.attributes.get(name) for name in SETTING}, sort_keys=True)


def differing(settings: Sequence[str]) -> list[str]:
    """The attributes of SETTING in which these differ."""
    tables = [json.loads(setting) for setting in settings]
    return [name for name in SETTING if any(table[name] != tables[0][name] for table in tables)]
