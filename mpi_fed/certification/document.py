"""The JSON document of `mpi-fed certify --json`: a list of certificates, one for each compressor and its parameters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class DimensionReport:
    """Results of a compressor at one dimension, over all fixed vectors x that were compressed.

    A score is the distance of a mean from its expectation: for many draws, the number of standard errors. It is None if
    there was no comparison.

    Attributes
    ----------
    dimension : int
        Dimension d.
    draws : int
        Number of messages drawn for each fixed x, before rounding up to a multiple of 4; a biased compressor sends only
        4 messages.
    omega : float
        Variance bound in use: E||C(x) - x||^2 <= omega ||x||^2.
    omega_tight : float or None
        The smallest variance bound; None if it is not known.
    variance_ratio : float or None
        Largest measured E||C(x) - x||^2/(omega ||x||^2) of all x; None if omega is 0.
    bias_z_max : float or None
        Largest score of the mean of C(x), compared with x: along blocks of x and, up to 64 dimensions, in every
        coordinate.
    variance_z_max : float or None
        Largest score of the mean of ||C(x) - x||^2, compared with its closed form and with omega ||x||^2.
    covariance_z_max : float or None
        Largest score of the variance of <C(x), x> and, up to 64 dimensions, of the covariance matrix of C(x), compared
        with their closed forms.
    length_z_max : float or None
        Largest score of the mean number of information bits of a message, compared with `payload_bits_theory`.
    independence_z_max : float or None
        Largest score of the mean product of the errors C(x) - x of two draws, compared with 0.
    payload_bytes_measured : float or None
        Mean number of bytes of a message, where an absent client's message has 0 bytes; None on the rank that only
        sends.
    payload_bits_theory : float
        Expected number of bits of a message, before it is rounded up to whole bytes.
    round_trip_exact : bool
        True if all checks of the round trip passed: encoding is repeatable, sender and root decode the same numbers bit
        for bit, `decode` adds weight C(x), and numbers that the float format holds are not rounded.
    """

    dimension: int
    draws: int
    omega: float
    omega_tight: float | None
    variance_ratio: float | None
    bias_z_max: float | None
    variance_z_max: float | None
    covariance_z_max: float | None
    length_z_max: float | None
    independence_z_max: float | None
    payload_bytes_measured: float | None
    payload_bits_theory: float
    round_trip_exact: bool


@dataclass(frozen=True)
class Certificate:
    """Verdict on a compressor. The scores are the largest over all dimensions, as defined in `DimensionReport`.

    Attributes
    ----------
    kind : str
        Kind of the compressor.
    label : str
        Short name: the kind and the parameters.
    parameters : dict
        Parameters of the compressor that are set, without the kind.
    dimension : int
        The largest dimension at which every coordinate is compared (at most 64), or else the first dimension. `omega`,
        `variance_ratio`, `payload_bytes_measured` and `payload_bits_theory` are the results at this dimension.
    omega : float
        Variance bound in use: E||C(x) - x||^2 <= omega ||x||^2.
    variance_ratio : float or None
        Largest measured E||C(x) - x||^2/(omega ||x||^2) of all x; None if omega is 0.
    bias_z_max : float or None
        Largest score of the mean of C(x), compared with x: along blocks of x and, up to 64 dimensions, in every
        coordinate.
    variance_z_max : float or None
        Largest score of the mean of ||C(x) - x||^2, compared with its closed form and with omega ||x||^2.
    covariance_z_max : float or None
        Largest score of the variance of <C(x), x> and, up to 64 dimensions, of the covariance matrix of C(x), compared
        with their closed forms.
    length_z_max : float or None
        Largest score of the mean number of information bits of a message, compared with `payload_bits_theory`.
    independence_z_max : float or None
        Largest score of the mean product of the errors C(x) - x of two draws, compared with 0.
    payload_bytes_measured : float or None
        Mean number of bytes of a message, where an absent client's message has 0 bytes; None on the rank that only
        sends.
    payload_bits_theory : float
        Expected number of bits of a message, before it is rounded up to whole bytes.
    round_trip_exact : bool
        True if the round trip is exact at every dimension.
    dimensions : list of DimensionReport
        Results at each dimension.
    comparisons : int
        Number of scores at all dimensions together.
    z_limit : float
        Score above which a comparison fails, 8.
    error_rate : float
        Upper bound on the probability that a correct compressor fails.
    verdict : {"PASS", "FAIL"}
        FAIL if a score is above `z_limit`, or if a property that must hold with certainty does not hold.
    reasons : list of str
        Reasons for FAIL; empty for PASS.
    """

    kind: str
    label: str
    parameters: dict[str, Any]
    dimension: int
    omega: float
    variance_ratio: float | None
    bias_z_max: float | None
    variance_z_max: float | None
    covariance_z_max: float | None
    length_z_max: float | None
    independence_z_max: float | None
    payload_bytes_measured: float | None
    payload_bits_theory: float
    round_trip_exact: bool
    dimensions: list[DimensionReport]
    comparisons: int
    z_limit: float
    error_rate: float
    verdict: Literal["PASS", "FAIL"]
    reasons: list[str]

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Certificate:
        """Return the certificate that `to_json` turned into these fields."""
        reports = [DimensionReport(**report) for report in fields["dimensions"]]
        return cls(**{**fields, "dimensions": reports})

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)
