"""The JSON document of `mpi-fed scaling`, scaling.json: each field, in the order in which it is written.

`docs/scaling.md` defines the fields. A number that cannot be computed is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...benchmark import INVALID, VALID

__all__ = ["INVALID", "VALID", "Agreement", "Estimate", "GroupEntry", "PointEntry", "Scaling"]


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its interval."""

    estimate: float
    low: float | None
    high: float | None

    def times(self, factor: float) -> Estimate:
        """Return the estimate and its ends multiplied by `factor`."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Estimate(self.estimate * factor, low, high)


@dataclass(frozen=True)
class PhaseSeconds:
    """Seconds a round in a phase: minimum, mean and maximum over ranks, and the part that the round waits for."""

    min: float
    mean: float
    max: float
    path: float
    standard_error: float | None


@dataclass(frozen=True)
class Agreement:
    """The agreement of the averaged iterates w_bar_K of one configuration between different numbers of ranks."""

    verdict: str
    """`iterates.EQUAL`, ROUNDING, DIFFER or UNKNOWN."""
    repetitions: int
    """The number of repetitions that each number of ranks has in common with fewer ranks; the smallest of them."""
    difference: float | None
    """The largest relative difference, max |a - b| / max |a|, of all compared repetitions."""


@dataclass(frozen=True, kw_only=True)
class PointEntry:
    """The results on one number of ranks, relative to the results on the smallest number of ranks."""

    ranks: int
    clients: int
    hosts: int | None
    cores: int | None
    more_ranks_than_cores: bool | None
    launches: int
    repetitions: int
    restarts: int
    seconds_a_round: Estimate
    uncertainty: str
    speed_up: Estimate
    efficiency: Estimate
    best_efficiency: float
    phases: dict[str, PhaseSeconds] | None
    files: list[str]


@dataclass(frozen=True, kw_only=True)
class GroupEntry:
    """One configuration on different numbers of ranks."""

    kind: str
    name: str
    title: str
    clients: int | None
    clients_a_rank: float | None
    configuration: dict[str, Any]
    setting: dict[str, Any]
    git_commits: list[str]
    iterates: Agreement | None
    verdict: str
    points: list[PointEntry]


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The document of `mpi-fed scaling`."""

    format: str = "mpi-fed scaling"
    format_version: int = 1
    confidence: float
    groups: list[GroupEntry]
    left_out: list[str]
    verdict: str
