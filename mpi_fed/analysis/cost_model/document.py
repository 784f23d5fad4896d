"""The JSON document of `mpi-fed model`: each field, in the order in which it is written.

`docs/model.md` defines the fields. Times are in seconds, rates in bits a second; None stands for a missing value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Phases = dict[str, float]
"""Seconds by phase; a compressed downlink adds the phases downlink_encode and downlink_decode."""


@dataclass(frozen=True)
class ComputeCost:
    """Fitted seconds of a phase, for all compressors or for one."""

    phase: str
    compressor: str | None
    seconds: float
    per_coordinate: float
    per_coordinate_beyond_cache: float
    per_byte: float


@dataclass(frozen=True)
class UplinkCost:
    """Fitted costs of a route's uplink."""

    medium: str
    route: str
    alpha_seconds: float
    copy_seconds_per_byte: float
    stretch: float


@dataclass(frozen=True)
class IterateCost:
    """Fitted costs of a downlink of the iterate, by the bits of a float."""

    medium: str
    downlink_bits: int
    alpha_seconds: float
    copy_seconds_per_byte: float
    stretch: float


@dataclass(frozen=True)
class DirectionCost:
    """Fitted costs of a compressed downlink."""

    medium: str
    downlink: str
    alpha_seconds: float
    copy_seconds_per_byte: float
    stretch: float


@dataclass(frozen=True)
class Fit:
    """All fitted costs."""

    compute: list[ComputeCost]
    ways: list[UplinkCost | IterateCost | DirectionCost]


@dataclass(frozen=True)
class HeldOutRound:
    """A round, measured and predicted by a fit that leaves its dimension out."""

    compressor: str
    route: str
    downlink_bits: int | None
    downlink: str | None
    dimension: int
    link: float | Literal["unlimited"] | None
    measured_seconds: float
    predicted_seconds: float


@dataclass(frozen=True)
class HeldOutErrors:
    """The absolute relative errors of held-out rounds."""

    count: int
    median: float
    worst: float
    worst_is: HeldOutRound


@dataclass(frozen=True)
class HeldOut:
    """The errors at dimensions between those of the fit, and beyond them."""

    between: HeldOutErrors | None
    beyond: HeldOutErrors | None


@dataclass(frozen=True)
class Rates:
    """An interval of the rates of the clients' links; an end is None if the interval has no limit there."""

    above: float | None
    below: float | None


RateInterval = Rates | Literal["never", "always"] | None


@dataclass(frozen=True)
class Gain:
    """The speed of a round, and the speed to the risk, relative to a baseline."""

    round: float
    rounds_needed: float | None
    to_risk: float | None
    faster_between: RateInterval = None
    faster_to_risk_between: RateInterval = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A pair of compressor and downlink, with the fastest route for this pair."""

    compressor: str
    route: str
    downlink_bits: int | None
    downlink: str | None
    dimension: int
    round_seconds: float
    phases: Phases
    limit_trace: float | None
    limit_trace_error: float | None
    rounds: float | None
    seconds_to_risk: float | None
    float32: Gain | None
    float16: Gain | None
    uncompressed: Gain | None


@dataclass(frozen=True, kw_only=True)
class MachineEntry:
    """A machine, and a row for each dimension and compressor."""

    name: str
    clients: int
    up: float | None
    down: float | None
    root: float | None
    latency: float
    cores: int
    participants: int
    homes: bool
    description: str
    rows: list[Row]


@dataclass(frozen=True, kw_only=True)
class Model:
    """The document of `mpi-fed model`."""

    format: str = "mpi-fed model"
    format_version: int = 1
    measured_on: list[dict[str, Any]]
    """For each file: its name, the rate of its links, and the facts about the machine from the bench."""
    assumptions: list[str]
    risk: float
    fit: Fit
    held_out: HeldOut
    machines: list[MachineEntry]
