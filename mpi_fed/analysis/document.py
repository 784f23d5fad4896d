"""The JSON document of `mpi-fed analyze`, analysis.json: each field, in the order in which it is written.

`docs/analysis.md` says what the fields mean. A number that cannot be computed is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..benchmark import INVALID, VALID

__all__ = ["INVALID", "VALID", "Analysis", "Decision", "Entry", "read_analysis"]

Table = dict[str, Any]
"""A table of a study file, fully resolved."""


@dataclass(frozen=True)
class Mean:
    """A mean over repetitions."""

    mean: float | None
    standard_error: float | None


@dataclass(frozen=True)
class Slope:
    """The slope of log risk against log rounds, with its interval, over rounds first_round to last_round."""

    estimate: float
    low: float | None
    high: float | None
    confidence: float
    first_round: int
    last_round: int
    predicted: float | None


@dataclass(frozen=True)
class Uplink:
    """Final counts, the mean over repetitions, all clients together."""

    information_bits: float | None
    payload_bytes: float | None
    transported_bytes: float | None


@dataclass(frozen=True)
class Factors:
    """Bytes without compression over information / 8, payload and transported bytes."""

    information: float | None
    payload: float | None
    transported: float | None


@dataclass(frozen=True)
class ReductionFactor:
    """The factors over floats of 4 and of 2 bytes."""

    float32: Factors
    float16: Factors


@dataclass(frozen=True)
class DownlinkReductionFactor:
    """Bytes without compression over transported bytes of the way back."""

    float32: float | None
    float16: float | None


@dataclass(frozen=True)
class Bias:
    """The mean of w_bar_K - w* over repetitions, relative to its spread."""

    norm_ratio: float | None
    z: float | None


@dataclass(frozen=True)
class Decomposition:
    """The mean excess risk as that of the mean of w_bar_K and that of its scatter, each with its standard error."""

    bias: float | None
    bias_error: float | None
    variance: float | None
    variance_error: float | None


@dataclass(frozen=True)
class Interval:
    """Where another set of repetitions would have it; an end is None beyond the last log point."""

    low: int | float | None
    high: int | float | None
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One configuration."""

    compressor: Table
    algorithm: Table
    problem: Table
    route: Table
    downlink: Table | None
    clients: int
    rounds: int
    repetitions: int
    excess_risk_averaged: Mean
    predicted_excess_risk_averaged: float | None
    prediction_kind: str | None
    limit_trace: float | None
    z: float | None
    p_value: float | None
    slope: Slope | None
    uplink: Uplink
    downlink_bytes: float | None
    reduction_factor: ReductionFactor
    reduction_factor_relative_error: float | None
    downlink_reduction_factor: DownlinkReductionFactor
    bias: Bias
    decomposition: Decomposition
    variance_ratio: float | None
    verdict: str
    reasons: list[str]
    notes: list[str]
    label: str
    configuration_id: str | None
    study: Table
    file: str
    rounds_to_target: int | None
    bytes_to_target: float | None
    seconds_to_target: float | None
    rounds_to_target_interval: Interval | None
    bytes_to_target_interval: Interval | None
    seconds_to_target_interval: Interval | None
    heterogeneity_reference: bool
    heterogeneity_penalty: float | None
    heterogeneity_penalty_error: float | None

    @property
    def valid(self) -> bool:
        """Whether the numbers can be trusted."""
        return self.verdict == VALID


@dataclass(frozen=True)
class Ranked:
    """A compressor in a ranking: its final risk over the least one."""

    name: str
    ratio: float
    error: float | None


@dataclass(frozen=True)
class ComparableGroup:
    """Compressors of about one omega, or of about as many bits a message."""

    value: float
    ranking: list[Ranked]


@dataclass(frozen=True)
class Ratio:
    """A ratio of two penalties of heterogeneity."""

    estimate: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class PenaltyComparison:
    """A projection's penalty of heterogeneity beside that of a quantization, the reference."""

    name: str
    penalty: float
    error: float
    reference: str
    reference_penalty: float
    reference_error: float
    ratio: Ratio
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The compressor to take, among configurations that differ in compressor and route alone."""

    problem: str
    recommended: str | None
    recommended_file: str | None
    share_of_resamples: float | None
    reasons: list[str]
    verdict: str
    doubts: list[str]
    target_not_reached: list[str]
    invalid: list[str]
    equal_omega: list[ComparableGroup]
    equal_bits: list[ComparableGroup]
    heterogeneity: list[PenaltyComparison]
    heterogeneity_left_out: list[str]


@dataclass(frozen=True)
class ProblemRatio:
    """The ratio of penalties on one problem."""

    problem: str
    estimate: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Tally:
    """How often one projection bears heterogeneity better than quantization, with its extreme ratios."""

    name: str
    better: int
    undecided: int
    worse: int
    least_ratio: ProblemRatio
    greatest_ratio: ProblemRatio


@dataclass(frozen=True)
class HeterogeneityAnswer:
    """Whether projections bear heterogeneity better than quantization, over all problems."""

    answer: str
    confidence: float
    comparisons: int
    left_out: int
    compressors: list[Tally]


@dataclass(frozen=True)
class Analysis:
    """The whole document."""

    target_excess_risk: float | None
    configurations: list[Entry]
    decisions: list[Decision] = field(default_factory=list)
    heterogeneity: HeterogeneityAnswer | None = None


def read_analysis(file: Path) -> Analysis:
    """The document in a file. Raises pydantic.ValidationError, a ValueError, where it is none."""
    from pydantic import TypeAdapter

    return TypeAdapter(Analysis).validate_json(file.read_bytes())
