"""Compute the document of `mpi-fed scaling` from groups of points: speed-up, efficiency and phases."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...benchmark.compare import SEVERAL, SINGLE, between_launches
from ...engine.phases import PHASES
from ...log import schema
from ..series import names_of, shared_tables, titles
from .document import INVALID, VALID, Estimate, GroupEntry, PhaseSeconds, PointEntry, Scaling
from .groups import STRONG, WEAK, Group
from .iterates import DIFFER, agreement
from .points import Point

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
"""Confidence of each single interval."""
LEAST, MEAN, GREATEST = 0, 1, 2
"""Indices of the statistics over ranks in a log's phases."""
PATH = (MEAN, MEAN, MEAN, GREATEST, GREATEST, GREATEST, LEAST)
"""The statistic over ranks by which each phase contributes to the round.

Up to the barrier, gradient + encode + wait take equally long on every rank. After the barrier the root takes the
longest. The other ranks wait for the root in their downlink; the root does not wait in its own."""


def scaling_document(groups: Sequence[Group], left_out: Sequence[Point]) -> Scaling:
    """Return the document of all groups; `left_out` are the points that are in no group."""
    entries = [group_entry(group, name, title) for group, name, title in zip(groups, *headings(groups), strict=True)]
    return Scaling(
        confidence=CONFIDENCE,
        groups=entries,
        left_out=[str(launch.log.path) for point in left_out for launch in point.launches],
        verdict=INVALID if any(entry.verdict == INVALID for entry in entries) else VALID,
    )


def headings(groups: Sequence[Group]) -> tuple[list[str], list[str]]:
    """Return each group's compressor, and a title: the keys in which the group differs from others of its kind."""
    names = names_of([group.points[0].log for group in groups])
    by_group = dict[int, str]()
    for kind in (STRONG, WEAK):
        members = [i for i, group in enumerate(groups) if group.kind == kind]
        if members:
            by_group |= zip(members, titles([tables_of(groups[i]) for i in members]), strict=True)
    return names, [by_group[i] for i in range(len(groups))]


def tables_of(group: Group) -> dict[str, dict[str, Any]]:
    """Return the tables in which groups of one kind may differ besides compressor and route, for a title."""
    first = group.points[0]
    shared = shared_tables(first.log)
    study = {key: value for key, value in shared["study"].items() if key not in ("name", "clients")}
    study |= {"clients a rank" if group.kind == WEAK else "clients": share(first, group.kind)}
    return {**shared, "study": study, "log": first.log.configuration.get("log", {}), "on": json.loads(first.setting)}


def share(point: Point, kind: str) -> float:
    """Return the number of clients, or for WEAK of clients a rank, as an integer if it is whole."""
    clients = point.clients / (point.ranks if kind == WEAK else 1)
    return int(clients) if clients.is_integer() else clients


def group_entry(group: Group, name: str, title: str) -> GroupEntry:
    """Return the results of one group."""
    first = group.points[0]
    same = agreement(group.points) if group.kind == STRONG else None
    return GroupEntry(
        kind=group.kind,
        name=name,
        title=title,
        clients=first.clients if group.kind == STRONG else None,
        clients_a_rank=share(first, WEAK) if group.kind == WEAK else None,
        configuration=json.loads(first.key),
        setting=json.loads(first.setting),
        git_commits=commits(group),
        iterates=same,
        verdict=INVALID if same is not None and same.verdict == DIFFER else VALID,
        points=[point_entry(point, first) for point in group.points],
    )


def commits(group: Group) -> list[str]:
    """Return the commits of the program that wrote the logs; logs without a commit are skipped."""
    names = [launch.log.attributes.get(schema.GIT_COMMIT.name) for point in group.points for launch in point.launches]
    return sorted({str(commit) for commit in names if commit})


def point_entry(point: Point, first: Point) -> PointEntry:
    """Return the results on one number of ranks, relative to `first`, the point with the fewest ranks."""
    single = min(len(point.launches), len(first.launches)) == 1
    cores = [launch.cores for launch in point.launches if launch.cores is not None]
    crowded = [launch.crowded for launch in point.launches if launch.crowded is not None]
    growth = speed_up(point, first)
    return PointEntry(
        ranks=point.ranks,
        clients=point.clients,
        hosts=point.launches[0].hosts,
        cores=min(cores, default=None),
        more_ranks_than_cores=any(crowded) if crowded else None,
        launches=len(point.launches),
        repetitions=sum(len(launch.seconds) for launch in point.launches),
        restarts=max(int(launch.log.attributes.get(schema.RESTARTS.name, 0)) for launch in point.launches),
        seconds_a_round=interval(point.seconds),
        uncertainty=SINGLE if single else SEVERAL,
        speed_up=growth,
        efficiency=growth.times(first.ranks / point.ranks),
        best_efficiency=balance(point) / balance(first),
        phases=phases(point.phases),
        files=[str(launch.log.path) for launch in point.launches],
    )


def interval(seconds: Floats) -> Estimate:
    """Return the geometric mean of S times, with Student's interval of the mean logarithm if S > 1."""
    from scipy import stats

    logs, low, high = np.log(seconds), None, None
    if len(logs) > 1:
        half = float(stats.t.isf((1 - CONFIDENCE) / 2, len(logs) - 1)) * logs.std(ddof=1) / math.sqrt(len(logs))
        low, high = (math.exp(logs.mean() + end) for end in (-half, half))
    return Estimate(math.exp(logs.mean()), low, high)


def speed_up(point: Point, first: Point) -> Estimate:
    """Return the ratio of clients served a second, N T_0 / (N_0 T), with Welch's interval for the logarithms.

    For equal numbers of clients this is the speed-up of a round. For `first` the ratio is 1, without an interval.
    """
    if point is first:
        return Estimate(1.0, None, None)
    low = high = None
    ratio = float(np.exp(np.log(first.seconds).mean() - np.log(point.seconds).mean()))
    if min(len(point.seconds), len(first.seconds)) > 1:
        _, low, high = between_launches(point.seconds.tolist(), first.seconds.tolist(), 1 - CONFIDENCE)
    return Estimate(ratio, low, high).times(point.clients / first.clients)


def balance(point: Point) -> float:
    """Return N / (R ceil(N / R)) for N clients on R ranks, which is 1 if they divide evenly."""
    return point.clients / (point.ranks * math.ceil(point.clients / point.ranks))


def phases(samples: Floats) -> dict[str, PhaseSeconds] | None:
    """Return the times of each phase from S samples (shape (S, 7, 3)); None if S = 0."""
    if not len(samples):
        return None
    means, entries = samples.mean(axis=0), {}
    for i, name in enumerate(PHASES):
        path = samples[:, i, PATH[i]]
        error = float(path.std(ddof=1) / math.sqrt(len(path))) if len(path) > 1 else None
        least, mean, greatest = means[i].tolist()
        entries[name] = PhaseSeconds(least, mean, greatest, float(path.mean()), error)
    return entries
