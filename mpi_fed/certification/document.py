"""The JSON document of `mpi-fed certify --json`: a list of certificates, one for each compressor and its parameters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class DimensionReport:
    """Results of a compressor at one dimension. A score is None if there was no comparison."""

    dimension: int
    draws: int
    """Number of messages drawn for each fixed x."""
    omega: float
    omega_tight: float | None
    variance_ratio: float | None
    """Largest measured E||C(x) - x||^2/(omega ||x||^2); None if omega is 0."""
    bias_z_max: float | None
    variance_z_max: float | None
    covariance_z_max: float | None
    length_z_max: float | None
    independence_z_max: float | None
    payload_bytes_measured: float | None
    """Mean number of bytes of a message; None on the rank that only sends."""
    payload_bits_theory: float
    round_trip_exact: bool


@dataclass(frozen=True)
class Certificate:
    """Verdict on a compressor. Results for a single dimension belong to the largest with all coordinates compared."""

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
    """This score and the four scores above are the largest over all dimensions."""
    payload_bytes_measured: float | None
    payload_bits_theory: float
    round_trip_exact: bool
    """True if the round trip is exact at every dimension."""
    dimensions: list[DimensionReport]
    comparisons: int
    z_limit: float
    error_rate: float
    """Upper bound on the probability that a correct compressor fails."""
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
