"""The JSON documents of `mpi-fed bench` and `mpi-fed compare`: each field, in the order in which it is written.

`docs/bench.md` defines the fields. In a file, a field with a default may be missing or have another type, because
another version wrote the file or the result is not VALID.
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
    """Microseconds of a round."""

    min: Number | None = None
    median: Number
    p90: Number | None = None
    p99: Number | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseTimes:
    """Microseconds of a phase: minimum, mean and maximum, over ranks, of each rank's median."""

    min: Number
    mean: Number | None = None
    max: Number


@dataclass(frozen=True)
class TransportedBytes:
    """Bytes passed to MPI in a round, the mean over the rounds in which at least one client sends."""

    uplink: Number
    downlink: Number


@dataclass(frozen=True, kw_only=True)
class Result:
    """One route with one compressor at one dimension."""

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
    """The document of `mpi-fed bench`: the machine and one result per case."""

    format: str = "mpi-fed bench"
    format_version: int = 1
    start_time: str | None = None
    machine: dict[str, Any]
    """Facts about the machine. A file may have any facts; `mpi-fed compare` reports all that differ."""
    conventions: str = CONVENTION
    verdict: str | None = None
    results: list[Result]


@dataclass(frozen=True)
class ComparedResult:
    """A result that two documents have in common; `low` and `high` are the ends of the interval of `ratio`."""

    route: str
    compressor: Table
    dimension: int
    ranks: int
    downlink_bits: Number | None
    downlink: Table | None
    label: str
    microseconds: Sequence[Number]  # [A, B], median of a round
    launches: Sequence[int]  # [A, B]
    ratio: float
    low: float | None
    high: float | None
    uncertainty: str
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """The document of `mpi-fed compare`."""

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
