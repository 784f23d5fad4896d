"""The JSON document of `mpi-fed analyze`, analysis.json: its fields, in the order in which they are written.

`docs/analysis.md` has the definitions and formulas. A number that cannot be computed is None. R is the number of
repetitions that count: those that reached round K with finite numbers. If a repetition diverged, R = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..benchmark import INVALID, VALID

__all__ = ["INVALID", "VALID", "Analysis", "Decision", "Entry", "read_analysis"]

Table = dict[str, Any]
"""A table of a study file, with the value of every key."""


@dataclass(frozen=True)
class Mean:
    """A mean over repetitions.

    Attributes
    ----------
    mean : float or None
        None where R = 0.
    standard_error : float or None
        s / sqrt(R) with s the standard deviation (R - 1 in its denominator); None where R < 2.
    """

    mean: float | None
    standard_error: float | None


@dataclass(frozen=True)
class Slope:
    """The slope of log excess risk against log rounds, with a confidence interval.

    Attributes
    ----------
    estimate : float
        Mean of the slopes of the R repetitions.
    low, high : float or None
        Ends of Student's t-interval; None with one repetition.
    confidence : float
        Confidence of the interval, 0.95.
    first_round, last_round : int
        Rounds of the first and the last log point of the fit.
    predicted : float or None
        Slope of the predicted curve over the same rounds; None without a prediction.
    """

    estimate: float
    low: float | None
    high: float | None
    confidence: float
    first_round: int
    last_round: int
    predicted: float | None


@dataclass(frozen=True)
class Uplink:
    """Uplink counts at round K: the sum over clients, the mean over repetitions.

    Attributes
    ----------
    information_bits : float or None
        Information bits of the payloads.
    payload_bytes : float or None
        Bytes of the packed payloads.
    transported_bytes : float or None
        Bytes that all ranks handed to MPI.
    """

    information_bits: float | None
    payload_bytes: float | None
    transported_bytes: float | None


@dataclass(frozen=True)
class Factors:
    """The number of bytes without compression, divided by the number of bytes counted.

    Attributes
    ----------
    information : float or None
        Divided by information bits / 8.
    payload : float or None
        Divided by payload bytes.
    transported : float or None
        Divided by transported bytes.
    """

    information: float | None
    payload: float | None
    transported: float | None


@dataclass(frozen=True)
class ReductionFactor:
    """Reduction of the uplink, compared with d uncompressed values from each client in each round.

    Attributes
    ----------
    float32 : Factors
        Compared with values of 4 bytes.
    float16 : Factors
        Compared with values of 2 bytes.
    """

    float32: Factors
    float16: Factors


@dataclass(frozen=True)
class DownlinkReductionFactor:
    """Bytes of d uncompressed values to each rank in each round, divided by the downlink's transported bytes.

    Attributes
    ----------
    float32 : float or None
        Compared with values of 4 bytes.
    float16 : float or None
        Compared with values of 2 bytes.
    """

    float32: float | None
    float16: float | None


@dataclass(frozen=True)
class Bias:
    """Test of the errors w_bar_K - w* of the repetitions for a common bias.

    Attributes
    ----------
    norm_ratio : float or None
        ||mean error|| / sqrt(mean ||error||^2): about 1/sqrt(R) without bias, 1 if all error is bias.
    z : float or None
        Score with mean 0 and variance 1 for independent errors that are symmetric about 0.
    """

    norm_ratio: float | None
    z: float | None


@dataclass(frozen=True)
class Decomposition:
    """The mean excess risk of w_bar_K, split into bias and variance.

    Attributes
    ----------
    bias : float or None
        Estimate of (1/2) ||E w_bar_K - w*||^2 in the norm of H; may be negative.
    bias_error : float or None
        Standard error of `bias`.
    variance : float or None
        Estimate of (1/2) Tr(H Cov w_bar_K).
    variance_error : float or None
        Standard error of `variance`.
    """

    bias: float | None
    bias_error: float | None
    variance: float | None
    variance_error: float | None


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval, over repetitions, of the rounds, bytes or seconds to the target.

    Attributes
    ----------
    low, high : int or float or None
        Ends of the interval; None for an end beyond the last log point.
    confidence : float
        Confidence of the interval, 0.95.
    """

    low: int | float | None
    high: int | float | None
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The results of one configuration.

    Attributes
    ----------
    compressor, algorithm, problem, route : dict
        Tables of the study file.
    downlink : dict or None
        Table of the downlink's compressor; None if the downlink is not compressed.
    clients, rounds : int
        N and K.
    repetitions : int
        R, the number of repetitions from which the numbers below are computed.
    excess_risk_averaged : Mean
        F(w_bar_K) - F(w*).
    predicted_excess_risk_averaged : float or None
        Predicted expectation of F(w_bar_K) - F(w*).
    prediction_kind : {"exact", "approximate"} or None
        Kind of the prediction; None without one.
    limit_trace : float or None
        Tr(C_ania H^-1), to which 2k times the excess risk tends as step sizes tend to 0.
    z, p_value : float or None
        Comparison of the mean with the prediction: (mean - predicted) / standard error, and the two-sided p-value.
    slope : Slope or None
        Slope over the last decade of rounds.
    uplink : Uplink
        Uplink counts at round K.
    downlink_bytes : float or None
        Transported downlink bytes at round K, mean over repetitions.
    reduction_factor : ReductionFactor
        Reduction of the uplink.
    reduction_factor_relative_error : float or None
        Relative standard error of the reduction factors of transported bytes.
    downlink_reduction_factor : DownlinkReductionFactor
        Reduction of the downlink.
    bias : Bias
        Test for a bias of w_bar_K.
    decomposition : Decomposition
        Bias and variance of w_bar_K.
    variance_ratio : float or None
        Measured mean excess risk divided by the predicted one.
    verdict : {"VALID", "INVALID"}
        INVALID if the numbers cannot be trusted.
    reasons : list of str
        Reasons for INVALID; empty for VALID.
    notes : list of str
        Remarks that do not change the verdict, such as the reason for a missing prediction.
    label, configuration_id, file : str
        Name of the configuration, its digest (may be None), and the path of its log.
    study : dict
        Table of the study file.
    rounds_to_target : int or None
        Rounds at the first log point whose mean excess risk is at most the target; None if no log point meets it.
    bytes_to_target : float or None
        Transported uplink bytes at that log point, mean over repetitions.
    seconds_to_target : float or None
        Wall seconds at that log point, mean over repetitions.
    rounds_to_target_interval, bytes_to_target_interval, seconds_to_target_interval : Interval or None
        Intervals of the rounds, bytes and seconds to the target; None with fewer than three repetitions.
    heterogeneity_reference : bool
        True if all clients have the same distribution.
    heterogeneity_penalty : float or None
        Final mean excess risk divided by that of the homogeneous reference; None without a reference.
    heterogeneity_penalty_error : float or None
        Standard error of the penalty.
    """

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
        """True if the verdict is VALID."""
        return self.verdict == VALID


@dataclass(frozen=True)
class Ranked:
    """A compressor in a ranking.

    Attributes
    ----------
    name : str
        The compressor and its parameters.
    ratio : float
        Mean final excess risk of the compressor, divided by the lowest mean of the ranking.
    error : float or None
        Standard error of the ratio, as if the two means were independent. None for the compressor with the lowest mean,
        and if a mean has no standard error.
    """

    name: str
    ratio: float
    error: float | None


@dataclass(frozen=True)
class ComparableGroup:
    """Compressors whose omega, or information bits a message, are about equal.

    Attributes
    ----------
    value : float
        Mean omega, or mean information bits a message.
    ranking : list of Ranked
        The compressors, in the order of their final risks.
    """

    value: float
    ranking: list[Ranked]


@dataclass(frozen=True)
class Ratio:
    """A ratio of two penalties of heterogeneity, with a confidence interval.

    Attributes
    ----------
    estimate, low, high : float
        The ratio and the ends of its interval.
    confidence : float
        Confidence of this interval, so large that all intervals together have confidence 0.95 (Bonferroni).
    """

    estimate: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class PenaltyComparison:
    """A projection's penalty of heterogeneity, compared with the penalty of a quantization, the reference.

    Attributes
    ----------
    name : str
        The projection.
    penalty, error : float
        Penalty of the projection and its standard error.
    reference : str
        The quantization with the nearest omega.
    reference_penalty, reference_error : float
        Penalty of the quantization and its standard error.
    ratio : Ratio
        `penalty` divided by `reference_penalty`.
    verdict : {"better", "worse", "undecided"}
        "better" if the interval is below 1, "worse" if it is above, "undecided" if it contains 1.
    """

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
    """The recommended compressor, among configurations that differ only in the compressors and the route.

    Attributes
    ----------
    problem : str
        Keys in which this group differs from the other groups, with their values.
    recommended : str or None
        The VALID compressor with the fewest transported uplink bytes to the target; None if no compressor reaches the
        target.
    recommended_file : str or None
        Path of the log of the recommended compressor.
    share_of_resamples : float or None
        Share of the bootstrap resamples in which the recommended compressor needs strictly fewer bytes than all others.
    reasons : list of str
        Reasons for the recommendation.
    verdict : {"VALID", "INVALID"}
        INVALID if there are doubts.
    doubts : list of str
        Reasons not to rely on the comparison.
    target_not_reached : list of str
        VALID compressors that do not reach the target.
    invalid : list of str
        Compressors whose configuration is INVALID.
    equal_omega, equal_bits : list of ComparableGroup
        Compressors of about equal omega, and of about equal information bits a message.
    heterogeneity : list of PenaltyComparison
        Penalties of the projections compared with the penalties of quantization.
    heterogeneity_left_out : list of str
        Compressors whose penalty is not compared, because their risk or the risk of their homogeneous reference is
        INVALID or mostly bias.
    """

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
    """The ratio of penalties on one problem, with a confidence interval.

    Attributes
    ----------
    problem : str
        Title of the problem, as in `Decision.problem`.
    estimate, low, high, confidence : float
        The fields of `Ratio`.
    """

    problem: str
    estimate: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Tally:
    """Counts of the verdicts on one projection, with its extreme ratios.

    Attributes
    ----------
    name : str
        The projection.
    better, undecided, worse : int
        Number of comparisons with each verdict.
    least_ratio, greatest_ratio : ProblemRatio
        The least and the greatest ratio of penalties.
    """

    name: str
    better: int
    undecided: int
    worse: int
    least_ratio: ProblemRatio
    greatest_ratio: ProblemRatio


@dataclass(frozen=True)
class HeterogeneityAnswer:
    """The answer over all problems to whether projections tolerate heterogeneity better than quantization.

    Attributes
    ----------
    answer : {"yes", "in part", "it depends", "no", "undecided"}
        "yes": better in all comparisons; "in part": better in some, worse in none; "it depends": better in some, worse
        in others; "no": worse in some, better in none; "undecided": neither better nor worse in any.
    confidence : float
        Confidence of all intervals together, 0.95.
    comparisons : int
        Number of comparisons.
    left_out : int
        Number of penalties that are not compared.
    compressors : list of Tally
        Counts for each projection.
    """

    answer: str
    confidence: float
    comparisons: int
    left_out: int
    compressors: list[Tally]


@dataclass(frozen=True)
class Analysis:
    """The whole document.

    Attributes
    ----------
    target_excess_risk : float or None
        The target of the mean averaged excess risk; None if no configuration has a final mean.
    configurations : list of Entry
        Results, in the order of their study's grid.
    decisions : list of Decision
        Recommendations, one for each group of configurations that differ only in the compressors and the route.
    heterogeneity : HeterogeneityAnswer or None
        Answer over all decisions; None without penalties of heterogeneity.
    """

    target_excess_risk: float | None
    configurations: list[Entry]
    decisions: list[Decision] = field(default_factory=list)
    heterogeneity: HeterogeneityAnswer | None = None


def read_analysis(file: Path) -> Analysis:
    """Return the document in a file.

    Parameters
    ----------
    file : Path
        A file that `mpi-fed analyze` wrote: analysis.json, or the output of `--json`.

    Returns
    -------
    Analysis
        The document.

    Raises
    ------
    pydantic.ValidationError
        If the file does not hold such a document; it is a ValueError.
    OSError
        If the file cannot be read.
    """
    from pydantic import TypeAdapter

    return TypeAdapter(Analysis).validate_json(file.read_bytes())
