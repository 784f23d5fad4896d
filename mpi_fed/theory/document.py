"""The JSON document of `mpi-fed predict --json`: its fields in order. A field without a prediction is None."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Setup:
    """The configuration, and the quantities that follow from it directly."""

    label: str
    """The configuration's label in its study."""
    compressor: dict[str, Any]
    """The study's table of the compressor of the uplink."""
    downlink: dict[str, Any] | None
    """The study's table of the compressor of the downlink; None if the downlink is not compressed."""
    algorithm: dict[str, Any]
    """The study's table of the algorithm."""
    problem: dict[str, Any]
    """The study's table of the problem."""
    clients: int
    """Number of clients N."""
    dimension: int
    """Dimension d."""
    omega: float
    """The variance bound that enters the step size: E||C(x) - x||^2 <= omega ||x||^2. With a compressed downlink
    omega + 1 = (omega_up + 1) (omega_down + 1)."""
    step_size: float
    """gamma, or gamma_0 if the step size of round k = 0, 1, ... is gamma_0 (k+1)^-step_exponent."""
    step_exponent: float
    """Exponent of the decrease; 0 for a fixed step size."""
    rounds: int
    """Number of rounds K."""
    payload_bits: float
    """Expected number of bits of an uplink message."""
    payload_bytes_max: int
    """Number of bytes of the longest uplink message."""
    downlink_payload_bits: float | None
    """Expected number of bits of a downlink message; None if the downlink is not compressed."""
    downlink_payload_bytes_max: int | None
    """Number of bytes of the longest downlink message; None if the downlink is not compressed."""


@dataclass(frozen=True)
class Limit:
    """The limit as the step size vanishes."""

    limit_trace: float | None = None
    """Tr(C_ania H^-1), in the unit of y^2: the expected excess risk of the averaged iterate tends to limit_trace/(2 K)
    as K grows and the step size vanishes."""
    limit_trace_error: float | None = None
    """Standard error of limit_trace if a part of it is estimated by Monte Carlo, else 0."""
    limit_trace_ideal_memory: float | None = None
    """The limit trace if every memory h_i were equal to E g_i at w*; None for algorithms without memories."""
    limit_weights: list[float] | None = None
    """The d eigenvalues of H^(-1/2) C_ania H^(-1/2), the largest first; their sum is limit_trace. As K grows and the
    step size vanishes, 2 K times the excess risk of the averaged iterate tends in distribution to the sum of these
    numbers times independent chi-square variables with one degree of freedom. None if the limit is estimated by Monte
    Carlo."""


@dataclass(frozen=True)
class FixedStep:
    """The limit of many rounds at a fixed step size. The fields are None for decreasing step sizes."""

    plateau_trace: float | None = None
    """Limit of 2 K times the expected excess risk of the averaged iterate at this step size, in the unit of y^2."""
    stable: bool | None = None
    """True if the second moments stay bounded at this fixed step size."""


@dataclass(frozen=True)
class FiniteRounds:
    """The expected risks after finite numbers of rounds."""

    log_rounds: list[int] | None = None
    """The numbers of rounds, ascending."""
    excess_risk_averaged: list[float | None] | None = None
    """Expected excess risk of the averaged iterate at each of `log_rounds`, in the unit of y^2; None if infinite."""
    excess_risk_last: list[float | None] | None = None
    """Expected excess risk of the iterate at each of `log_rounds`, in the unit of y^2; None if it is infinite or may
    have fallen below 1e-7 of its initial value."""
    prediction_kind: Literal["exact", "approximate"] | None = None
    """`exact` or `approximate`: the kind of the expected risks; None if there are no risks."""
    relative_error: float | None = None
    """Relative standard error of Tr(S(U) H^-1) at the last round, a measure of the error of the risks. It is 0 if no
    part of S(U) is estimated by Monte Carlo."""
    note: str | None = None
    """The approximations made, or the reason why there are no risks."""


@dataclass(frozen=True)
class Prediction(FiniteRounds, FixedStep, Limit, Setup):
    """The whole document: the fields of `Setup`, `Limit`, `FixedStep` and `FiniteRounds`, in this order.

    See `mpi_fed.theory.predict` for the formulas.
    """

    @classmethod
    def of(cls, setup: Setup) -> Prediction:
        """Return the document with only its setup."""
        return cls(**vars(setup))

    def including(self, *parts: Limit | FixedStep | FiniteRounds) -> Prediction:
        """Return a copy of this document with the fields of these parts."""
        return replace(self, **{name: value for part in parts for name, value in vars(part).items()})

    def to_json(self) -> dict[str, Any]:
        """Return the fields in order, ready for JSON."""
        return asdict(self)
