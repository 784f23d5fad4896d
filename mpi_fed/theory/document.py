"""The JSON document of `mpi-fed predict --json`: its fields in order, each None where theory says nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Setup:
    """The configuration, and what follows from it without theory."""

    label: str
    compressor: dict[str, Any]
    downlink: dict[str, Any] | None
    """What compresses the way back, if anything does."""
    algorithm: dict[str, Any]
    problem: dict[str, Any]
    clients: int
    dimension: int
    omega: float
    """What the step size allows for: of both compressions together where the way back is compressed."""
    step_size: float
    """gamma, or gamma_0 where it decreases as (k+1)^-step_exponent."""
    step_exponent: float
    rounds: int
    payload_bits: float
    """Expected bits of a message."""
    payload_bytes_max: int
    downlink_payload_bits: float | None
    """The same of a compressed message to the clients; None where w is broadcast, or the messages themselves."""
    downlink_payload_bytes_max: int | None


@dataclass(frozen=True)
class Limit:
    """What holds as the step vanishes."""

    limit_trace: float | None = None
    """Tr(C_ania H^-1): the excess risk of the average tends to limit_trace / (2 rounds) as the step vanishes."""
    limit_trace_error: float | None = None
    """Its standard error where a part is Monte Carlo, else 0."""
    limit_trace_ideal_memory: float | None = None
    """The same for memories that are E g_i at w*; None for algorithms without."""
    limit_weights: list[float] | None = None
    """2 rounds x excess risk of the average tends in law to the sum of these d numbers, each times a chi square of
    one degree of freedom of its own, as the step vanishes; None for a Monte Carlo limit."""


@dataclass(frozen=True)
class FixedStep:
    """What holds in the end at this fixed step; nothing for decreasing steps."""

    plateau_trace: float | None = None
    """What 2 rounds x excess risk of the average tends to at this fixed step."""
    stable: bool | None = None
    """Whether the second moments stay bounded at this fixed step."""


@dataclass(frozen=True)
class FiniteRounds:
    """The expected risks at finite numbers of rounds."""

    log_rounds: list[int] | None = None
    excess_risk_averaged: list[float | None] | None = None
    """Expected, at log_rounds; None where it is beyond all bounds."""
    excess_risk_last: list[float | None] | None = None
    """The same of the iterate; None, too, where it may have fallen below 1e-7 of its start."""
    prediction_kind: Literal["exact", "approximate"] | None = None
    relative_error: float | None = None
    """Of the risks: the relative standard error of the noise at the last round, 0 where nothing was sampled."""
    note: str | None = None
    """How a prediction is approximate, or why there is none."""


@dataclass(frozen=True)
class Prediction(FiniteRounds, FixedStep, Limit, Setup):
    """The whole document: the fields of `Setup`, `Limit`, `FixedStep` and `FiniteRounds`, in this order."""

    @classmethod
    def of(cls, setup: Setup) -> Prediction:
        """The document with no more than its setup."""
        return cls(**vars(setup))

    def including(self, *parts: Limit | FixedStep | FiniteRounds) -> Prediction:
        """This document with the fields of these parts."""
        return replace(self, **{name: value for part in parts for name, value in vars(part).items()})

    def to_json(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)
