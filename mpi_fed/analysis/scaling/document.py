"""The JSON document of `mpi-fed scaling`, scaling.json: each field, in the order in which it is written.

`docs/scaling.md` explains the computation. A number that cannot be computed is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...benchmark import INVALID, VALID

__all__ = ["INVALID", "VALID", "Agreement", "Estimate", "GroupEntry", "PointEntry", "Scaling"]


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its interval.

    Attributes
    ----------
    estimate : float
        The number.
    low, high : float or None
        Ends of the interval; None with a single sample, and for a number that is compared with itself.
    """

    estimate: float
    low: float | None
    high: float | None

    def times(self, factor: float) -> Estimate:
        """Return the estimate and its ends multiplied by `factor`."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Estimate(self.estimate * factor, low, high)


@dataclass(frozen=True)
class PhaseSeconds:
    """Seconds a round in a phase, the mean over launches or, for a single launch, over repetitions.

    Attributes
    ----------
    min, mean, max : float
        Minimum, mean and maximum over ranks, in seconds.
    path : float
        The part of the round's time, in seconds: `mean` for gradient, encode and wait, `max` for uplink, decode and
        update, `min` for downlink.
    standard_error : float or None
        Standard error of `path`, in seconds; None with a single sample.
    """

    min: float
    mean: float
    max: float
    path: float
    standard_error: float | None


@dataclass(frozen=True)
class Agreement:
    """The agreement of the averaged iterates w_bar_K of one configuration between different numbers of ranks.

    Attributes
    ----------
    verdict : {"equal", "rounding", "differ", "unknown"}
        "equal": bit for bit; "rounding": different, on a route on which MPI adds floats; "differ": different, although
        they must be equal; "unknown": there are no two iterates to compare, or the route is unknown.
    repetitions : int
        The number of repetitions that each number of ranks has in common with fewer ranks; the smallest of them.
    difference : float or None
        The largest relative difference, max |a - b| / max |a|, of all compared repetitions; None if the iterates
        of a number of ranks cannot be compared.
    """

    verdict: str
    repetitions: int
    difference: float | None


@dataclass(frozen=True, kw_only=True)
class PointEntry:
    """The results on one number of ranks, relative to the results on the smallest number of ranks.

    Attributes
    ----------
    ranks : int
        Number of ranks R.
    clients : int
        Number of clients N.
    hosts : int or None
        Number of hosts; None if the log lacks it.
    cores : int or None
        Number of logical cores on which the ranks may run, over all hosts, the smallest of all launches; None if no log
        has it.
    more_ranks_than_cores : bool or None
        True if, in a launch, some ranks outnumber the cores on which they may run; None if no log has the cores.
    launches : int
        Number of launches: the number of logs.
    repetitions : int
        Number of complete repetitions in all launches together.
    restarts : int
        Number of runs that continued a log, the largest of all launches.
    seconds_a_round : Estimate
        Time T of a round in seconds, without the first tenth of the rounds: the geometric mean over launches or, for a
        single launch, over repetitions.
    uncertainty : {"between launches", "within a launch"}
        The variation that the intervals of `speed_up` and `efficiency` cover: "within a launch" if this number of ranks
        or the smallest has a single launch.
    speed_up : Estimate
        (N / N_0) (T_0 / T), with the values N_0 and T_0 for the smallest number of ranks, R_0.
    efficiency : Estimate
        `speed_up` divided by R / R_0.
    best_efficiency : float
        The largest possible efficiency: below 1 if clients cannot be divided evenly among the ranks. It is b / b_0,
        with b = N / (R ceil(N / R)) and the value b_0 of b for the smallest number of ranks.
    phases : dict of PhaseSeconds, or None
        Times by phase: gradient, encode, wait, uplink, decode, update and downlink; None if no log has them.
    files : list of str
        Paths of the logs.
    """

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
    """One configuration on different numbers of ranks.

    Attributes
    ----------
    kind : {"strong", "weak"}
        "strong": the same number of clients on each number of ranks; "weak": the same number of clients on each rank.
    name : str
        The compressor, followed by the downlink's compressor if there is one, and by the route if the same compressors
        run on several routes.
    title : str
        Keys in which groups of this kind differ, with the values of this group.
    clients : int or None
        Number of clients N; None in a weak group.
    clients_a_rank : float or None
        Number of clients on each rank; None in a strong group.
    configuration : dict
        The study's tables, without the study's name, seeds and number of clients.
    setting : dict
        Attributes in which all logs of the group agree: CPU, MPI, versions, and digests of data and plugins.
    git_commits : list of str
        Commits of the program that wrote the logs, as far as the logs have them.
    iterates : Agreement or None
        Agreement of the averaged iterates; None in a weak group.
    verdict : {"VALID", "INVALID"}
        INVALID if `iterates` has the verdict "differ".
    points : list of PointEntry
        The results on each number of ranks, in ascending order.
    """

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
    """The document of `mpi-fed scaling`.

    Attributes
    ----------
    format : str
        "mpi-fed scaling".
    format_version : int
        1.
    confidence : float
        Confidence of each single interval, 0.95.
    groups : list of GroupEntry
        The groups, strong ones first.
    left_out : list of str
        Paths of the logs that are in no group.
    verdict : {"VALID", "INVALID"}
        INVALID if a group is INVALID.
    """

    format: str = "mpi-fed scaling"
    format_version: int = 1
    confidence: float
    groups: list[GroupEntry]
    left_out: list[str]
    verdict: str
