"""The JSON documents of `mpi-fed bench` and `mpi-fed compare`: each field, in the order in which it is written.

`docs/bench.md` explains how rounds are timed. In a file, a field with a default may be missing or have another type,
because another version wrote the file or the result is not VALID.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from . import CONVENTION

Number = int | float
"""A number rounded to six digits; a whole number is written as an integer."""
Table = dict[str, Any]
"""A table of a study file, such as `{"kind": "quantization", "levels": 1}`."""


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Percentiles of the time of a round over all launches: nearest ranks, in microseconds.

    Attributes
    ----------
    min : Number or None
        The shortest time.
    median : Number
        The smallest time that at least 50% of the rounds do not exceed.
    p90 : Number or None
        The smallest time that at least 90% of the rounds do not exceed.
    p99 : Number or None
        The smallest time that at least 99% of the rounds do not exceed; with fewer than 100 rounds, the longest time.
    """

    min: Number | None = None
    median: Number
    p90: Number | None = None
    p99: Number | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseTimes:
    """Time of a phase in microseconds, from the median time of each rank.

    Attributes
    ----------
    min : Number
        The smallest median of a rank.
    mean : Number or None
        The mean of the ranks' medians.
    max : Number
        The largest median of a rank.
    """

    min: Number
    mean: Number | None = None
    max: Number


@dataclass(frozen=True)
class TransportedBytes:
    """Number of bytes in a round, the mean over the rounds in which at least one client sends.

    Attributes
    ----------
    uplink : Number
        Bytes that the ranks pass to MPI on the uplink, summed over all ranks.
    downlink : Number
        Bytes that the ranks receive on the downlink, summed over all ranks.
    """

    uplink: Number
    downlink: Number


@dataclass(frozen=True, kw_only=True)
class Result:
    """One route with one compressor at one dimension.

    Attributes
    ----------
    route : str
        Kind of the route.
    compressor : dict
        Table of the uplink's compressor, with its kind and parameters.
    label : str or None
        Short name of the compressor.
    dimension : int
        Dimension d.
    ranks : int
        Number of ranks.
    clients : int or None
        Number of clients N.
    downlink_bits : Number or None
        Number of bits of each float of w on the downlink; None if w is not sent back. A file of an older version has no
        such key, and the number is 64.
    downlink : dict or None
        Table of the compressor that compresses the step's direction on the downlink; None if the downlink is not
        compressed.
    payload_bytes : Number or None
        Mean number of packed bytes of a message.
    messages : Number or None
        Mean number of messages in a round, over the rounds in which at least one client sends.
    transported_bytes : TransportedBytes or None
        Number of bytes that the ranks pass to MPI and receive in a round.
    repetitions : int
        Number of timed rounds in all launches together.
    launches : int
        Number of launches: how many times the ranks were started.
    microseconds : Percentiles or None
        Time of a round; None if no round was timed.
    launch_medians : list of Number
        Median time of a round in each launch, in microseconds.
    launch_spread : Number or None
        The largest of `launch_medians` divided by the smallest, minus 1; None for a single launch.
    quantiles : list of Number
        The percentiles 0, 1, ..., 100 of the time of a round, in microseconds; empty if no round was timed.
    phases : dict of PhaseTimes, or None
        Times by phase: gradient, encode, wait, uplink, decode, update, downlink, downlink_encode and downlink_decode.
        The last two are 0 if the downlink is not compressed. None if no round was timed.
    communication_microseconds : Number or None
        Median time of uplink + downlink at the root, in microseconds; None if no round was timed.
    bare_microseconds : Number or None
        Median time of the bare collectives at the root, in microseconds: of the same MPI calls without the rest of the
        round. None if the route does not define its bare collectives.
    ratio : Number or None
        `communication_microseconds` divided by `bare_microseconds`; None without the latter.
    goodput : Number or None
        `payload_bytes` times `messages`, divided by the median communication: packed bytes per second.
    floor_microseconds : Number or None
        Time of the same collectives in a C program, in microseconds: the median over launches of the median at the
        root. None if the program was not run.
    verdict : {"VALID", "INVALID"}
        VALID if the timed rounds passed all checks and at least 20 rounds were timed.
    reasons : list of str
        Reasons for INVALID; empty for VALID.
    """

    route: str
    compressor: Table
    label: str | None = None
    dimension: int
    ranks: int
    clients: int | None = None
    downlink_bits: Number | None = None
    downlink: Table | None = None
    payload_bytes: Number | None = None
    messages: Number | None = None
    transported_bytes: TransportedBytes | None = None
    repetitions: int
    launches: int = 1
    microseconds: Percentiles | None = None
    launch_medians: list[Number] = field(default_factory=list)
    launch_spread: Number | None = None
    quantiles: list[Number] = field(default_factory=list)
    phases: dict[str, PhaseTimes] | None = None
    communication_microseconds: Number | None = None
    bare_microseconds: Number | None = None
    ratio: Number | None = None
    goodput: Number | None = None
    floor_microseconds: Number | None = None
    verdict: str
    reasons: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The compressor's label, or else its kind."""
        return self.label or str(self.compressor.get("kind", "?"))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The document of `mpi-fed bench`: the machine and one result per case.

    Attributes
    ----------
    format : str
        "mpi-fed bench".
    format_version : int
        1.
    start_time : str or None
        Time in UTC (ISO 8601) at which the last measurement ended.
    machine : dict
        Facts about the machine. A file may have any facts; `mpi-fed compare` reports all that differ.
    conventions : str
        The definitions of a percentile, of a round and of communication, in one sentence.
    verdict : {"VALID", "INVALID"} or None
        VALID if all results are VALID.
    results : list of Result
        The results, one for each case.
    """

    format: str = "mpi-fed bench"
    format_version: int = 1
    start_time: str | None = None
    machine: dict[str, Any]
    conventions: str = CONVENTION
    verdict: str | None = None
    results: list[Result]


@dataclass(frozen=True)
class ComparedResult:
    """A result that two documents, A and B, have in common.

    Attributes
    ----------
    route : str
        Kind of the route.
    compressor : dict
        Table of the uplink's compressor.
    dimension : int
        Dimension d.
    ranks : int
        Number of ranks.
    downlink_bits : Number or None
        Number of bits of each float of w on the downlink, as in `Result`.
    downlink : dict or None
        Table of the downlink's compressor; None if the downlink is not compressed.
    label : str
        Short name of the uplink's compressor.
    microseconds : list of Number
        [A, B], the median time of a round in each document, in microseconds.
    launches : list of int
        [A, B], the number of launches in each document.
    ratio : float
        Time of a round in B divided by the time in A: the ratio of the geometric means of `launch_medians`, or of the
        medians over all rounds if a document has a single launch.
    low, high : float or None
        Ends of the interval of `ratio`; None with too few samples.
    uncertainty : {"between launches", "within a launch"}
        The variation that the interval covers: "within a launch" if a document has a single launch.
    verdict : {"slower", "faster", "no difference shown"}
        "slower" if the interval lies above 1 and `ratio` is at least the threshold, "faster" if the interval lies below
        1 and `ratio` is at most 1 / threshold.
    """

    route: str
    compressor: Table
    dimension: int
    ranks: int
    downlink_bits: Number | None
    downlink: Table | None
    label: str
    microseconds: Sequence[Number]
    launches: Sequence[int]
    ratio: float
    low: float | None
    high: float | None
    uncertainty: str
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """The document of `mpi-fed compare`, which compares the documents A and B.

    Attributes
    ----------
    confidence : float
        Confidence with which all intervals hold jointly, 0.95.
    comparisons : int
        Number of `lines`.
    threshold : float
        The smallest ratio that counts as slower; the inverse is the largest ratio that counts as faster.
    machine_differs : dict of list
        Values [A, B] of each fact in which the machines differ, by the name of the fact.
    lines : list of ComparedResult
        The results that are VALID in both documents.
    only_in_first, only_in_second : list of str
        Names of the results that only A, or only B, has.
    invalid : list of str
        Names of the results in both documents that are INVALID in A or B.
    slower, faster : int
        Number of lines with this verdict.
    """

    confidence: float
    comparisons: int
    threshold: float
    machine_differs: dict[str, list[Any]]
    lines: list[ComparedResult]
    only_in_first: list[str]
    only_in_second: list[str]
    invalid: list[str]
    slower: int
    faster: int
