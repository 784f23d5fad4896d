"""Samples of one or several launches as the figures of a result. Needs no MPI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.phase_clock import (
    DECODE,
    DOWNLINK,
    DOWNLINK_DECODE,
    DOWNLINK_ENCODE,
    ENCODE,
    GRADIENT,
    UPDATE,
    UPLINK,
)
from ..engine.phases import STEPS
from . import CONVENTION, INVALID, VALID
from .cases import FEWEST

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What one launch found of one configuration."""

    route: str
    compressor: dict[str, Any]
    label: str
    dimension: int
    clients: int
    downlink_bits: int | None  # of a float of w on its way back; None where w does not travel
    compressed_downlink: dict[str, Any] | None  # what compresses the direction that comes back in its place
    phases: Array  # (ranks, samples, 9), seconds of each of STEPS
    bare: Array | None  # (samples, 2), the root's seconds of uplink and downlink
    payload_bytes: float  # of a message, the mean
    messages: float  # of a round, the mean over those in which anybody sends; likewise below
    uplink: float  # bytes handed to MPI
    downlink: float
    reasons: list[str]


def percentile(samples: Array, percent: float) -> float:
    """The smallest sample that `percent` per cent of the samples do not exceed."""
    return float(np.percentile(samples, percent, method="inverted_cdf"))


def spread(samples: Array) -> dict[str, float]:
    """What is told of a set of samples."""
    told = {"min": 0, "median": 50, "p90": 90, "p99": 99}
    return {name: _short(percentile(samples, percent)) for name, percent in told.items()}


def round_seconds(phases: Array) -> Array:
    """Of each sample: the slowest rank's time up to the wait, and the slowest rank's time after it, (samples,)."""
    work = phases[:, :, [GRADIENT, ENCODE]].sum(axis=2).max(axis=0)
    after = [UPLINK, DECODE, UPDATE, DOWNLINK_ENCODE, DOWNLINK, DOWNLINK_DECODE]
    rest = phases[:, :, after].sum(axis=2).max(axis=0)
    return work + rest


def document(machine: dict[str, Any], launches: Sequence[Sequence[Measured]]) -> dict[str, Any]:
    """What `mpi-fed bench --json` prints, from the results of each launch, all in one order."""
    results = [summary(of_one) for of_one in zip(*launches, strict=True)]
    wrong = [result for result in results if result["verdict"] != VALID]
    return {
        "format": "mpi-fed bench",
        "format_version": 1,
        "start_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "conventions": CONVENTION,
        "verdict": INVALID if wrong else VALID,
        "results": results,
    }


def summary(launches: Sequence[Measured]) -> dict[str, Any]:
    """The result of one configuration, in microseconds, over all launches."""
    first = launches[0]
    phases = 1e6 * np.concatenate([one.phases for one in launches], axis=1)
    rounds = [1e6 * round_seconds(one.phases) for one in launches]
    samples = np.concatenate(rounds)
    reasons = list(dict.fromkeys(reason for one in launches for reason in one.reasons))
    count = len(samples)
    if count < FEWEST:
        reasons.append(f"{count} rounds were timed, and fewer than {FEWEST} say too little")
    medians = [_short(percentile(own, 50)) for own in rounds if len(own)]
    messages = {"payload_bytes": first.payload_bytes, "messages": first.messages}
    transported = {"uplink": first.uplink, "downlink": first.downlink}
    return {
        "route": first.route,
        "compressor": first.compressor,
        "label": first.label,
        "dimension": first.dimension,
        "ranks": len(phases),
        "clients": first.clients,
        "downlink_bits": first.downlink_bits,
        "downlink": first.compressed_downlink,
        **{name: _short(value) for name, value in messages.items()},
        "transported_bytes": {name: _short(value) for name, value in transported.items()},
        "repetitions": count,
        "launches": len(launches),
        "microseconds": spread(samples) if count else None,
        "launch_medians": medians,
        "launch_spread": _short(max(medians) / min(medians) - 1) if len(medians) > 1 else None,
        "quantiles": [_short(percentile(samples, percent)) for percent in range(101)] if count else [],
        "phases": _by_phase(phases) if count else None,
        **_communication(phases[0], launches, first.payload_bytes * first.messages if count else 0.0),
        "floor_microseconds": None,
        "verdict": INVALID if reasons else VALID,
        "reasons": reasons,
    }


def _by_phase(phases: Array) -> dict[str, dict[str, float]]:
    """Of each phase the least, mean and greatest of the ranks' medians."""
    medians = [np.array([percentile(own[:, phase], 50) for own in phases]) for phase in range(len(STEPS))]
    return {
        name: {"min": _short(own.min()), "mean": _short(own.mean()), "max": _short(own.max())}
        for name, own in zip(STEPS, medians, strict=True)
    }


def _communication(roots: Array, launches: Sequence[Measured], payload: float) -> dict[str, float | None]:
    """The root's collectives within rounds, beside the bare ones."""
    names = ("communication_microseconds", "bare_microseconds", "ratio", "goodput")
    if not len(roots):
        return dict.fromkeys(names)
    own = percentile(roots[:, UPLINK] + roots[:, DOWNLINK], 50)
    samples = [one.bare for one in launches if one.bare is not None]
    bare = percentile(1e6 * np.concatenate(samples).sum(axis=1), 50) if samples else None
    figures = (own, bare, own / bare if bare else None, 1e6 * payload / own if own else None)
    return {name: None if value is None else _short(value) for name, value in zip(names, figures, strict=True)}


def _short(value: float) -> float:
    """Six digits; a whole number as such."""
    value = float(value)
    return int(value) if value.is_integer() else float(f"{value:.6g}")
