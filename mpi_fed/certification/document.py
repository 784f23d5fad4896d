"""The JSON document of `mpi-fed certify --json`: a list of certificates, one for each compressor and its parameters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class DimensionReport:
    """What a compressor does at one dimension; a score is None where nothing was compared."""

    dimension: int
    draws: int
    """Messages drawn for each fixed x."""
    omega: float
    omega_tight: float | None
    variance_ratio: float | None
    """The largest measured E||C(x) - x||^2/(omega ||x||^2); None where omega is 0."""
    bias_z_max: float | None
    variance_z_max: float | None
    covariance_z_max: float | None
    length_z_max: float | None
    independence_z_max: float | None
    payload_bytes_measured: float | None
    """The mean length of a message; None on the rank that only sends."""
    payload_bits_theory: float
    round_trip_exact: bool


@dataclass(frozen=True)
class Certificate:
    """The verdict on a compressor; figures of one dimension are those of the largest with every coordinate compared."""

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
    """These scores are the largest of all dimensions."""
    payload_bytes_measured: float | None
    payload_bits_theory: float
    round_trip_exact: bool
    """At every dimension."""
    dimensions: list[DimensionReport]
    comparisons: int
    z_limit: float
    error_rate: float
    """The probability that a right compressor fails, at most."""
    verdict: Literal["PASS", "FAIL"]
    reasons: list[str]

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Certificate:
        """The certificate of an object that `to_json` made."""
        reports = [DimensionReport(**report) for report in fields["dimensions"]]
        return cls(**{**fields, "dimensions": reports})

    def to_json(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)
