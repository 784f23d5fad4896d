"""Compute a result from the samples of one or several launches, without MPI."""

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
from . import INVALID, VALID
from .cases import FEWEST
from .document import Bench, Percentiles, PhaseTimes, Result, TransportedBytes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """The samples of one configuration in one launch."""

    route: str
    compressor: dict[str, Any]
    label: str
    dimension: int
    clients: int
    downlink_bits: int | None  # of a float of w on the downlink; None if w is not sent
    compressed_downlink: dict[str, Any] | None  # table of the downlink's compressor, if there is one
    phases: Array  # (ranks, samples, 9), seconds of each of STEPS
    bare: Array | None  # (samples, 2), the root's seconds of uplink and downlink
    payload_bytes: float  # mean over messages
    messages: float  # mean over the rounds in which at least one client sends; likewise uplink and downlink
    uplink: float  # bytes passed to MPI
    downlink: float  # bytes passed to MPI
    reasons: list[str]


def percentile(samples: Array, percent: float) -> float:
    """Return the smallest sample that `percent` per cent of the samples (shape (n,)) do not exceed."""
    return float(np.percentile(samples, percent, method="inverted_cdf"))


def percentiles(samples: Array) -> Percentiles:
    """Return the percentiles of the times of a result's n rounds."""
    least, median, p90, p99 = (_short(percentile(samples, percent)) for percent in (0, 50, 90, 99))
    return Percentiles(min=least, median=median, p90=p90, p99=p99)


def round_seconds(phases: Array) -> Array:
    """Return the seconds of each round (shape (samples,)) from the steps of each rank (shape (ranks, samples, 9)).

    A round takes the slowest rank's time before the wait plus the slowest rank's time after it.
    """
    work = phases[:, :, [GRADIENT, ENCODE]].sum(axis=2).max(axis=0)
    after = [UPLINK, DECODE, UPDATE, DOWNLINK_ENCODE, DOWNLINK, DOWNLINK_DECODE]
    rest = phases[:, :, after].sum(axis=2).max(axis=0)
    seconds: Array = work + rest
    return seconds


def bench_document(machine: dict[str, Any], launches: Sequence[Sequence[Measured]]) -> Bench:
    """Return the document of `mpi-fed bench` from the measurements of each launch, which are in the same order."""
    results = [result_of(measurements) for measurements in zip(*launches, strict=True)]
    return Bench(
        start_time=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine,
        verdict=VALID if all(result.verdict == VALID for result in results) else INVALID,
        results=results,
    )


def result_of(launches: Sequence[Measured]) -> Result:
    """Return the result of one configuration over all launches, in microseconds."""
    first = launches[0]
    phases = 1e6 * np.concatenate([launch.phases for launch in launches], axis=1)
    rounds = [1e6 * round_seconds(launch.phases) for launch in launches]
    samples = np.concatenate(rounds)
    reasons = list(dict.fromkeys(reason for launch in launches for reason in launch.reasons))
    count = len(samples)
    if count < FEWEST:
        reasons.append(f"{count} rounds were timed; at least {FEWEST} are needed")
    medians = [_short(percentile(seconds, 50)) for seconds in rounds if len(seconds)]
    communication, bare = _communication(phases[0], launches)
    sent = first.payload_bytes * first.messages
    return Result(
        route=first.route,
        compressor=first.compressor,
        label=first.label,
        dimension=first.dimension,
        ranks=len(phases),
        clients=first.clients,
        downlink_bits=first.downlink_bits,
        downlink=first.compressed_downlink,
        payload_bytes=_short(first.payload_bytes),
        messages=_short(first.messages),
        transported_bytes=TransportedBytes(uplink=_short(first.uplink), downlink=_short(first.downlink)),
        repetitions=count,
        launches=len(launches),
        microseconds=percentiles(samples) if count else None,
        launch_medians=medians,
        launch_spread=_short(max(medians) / min(medians) - 1) if len(medians) > 1 else None,
        quantiles=[_short(percentile(samples, percent)) for percent in range(101)] if count else [],
        phases=_by_phase(phases) if count else None,
        communication_microseconds=None if communication is None else _short(communication),
        bare_microseconds=None if bare is None else _short(bare),
        ratio=_short(communication / bare) if communication is not None and bare else None,
        goodput=_short(1e6 * sent / communication) if communication else None,
        verdict=INVALID if reasons else VALID,
        reasons=reasons,
    )


def _by_phase(phases: Array) -> dict[str, PhaseTimes]:
    """Return, for each phase, the minimum, mean and maximum over ranks of each rank's median.

    `phases` has shape (ranks, samples, 9).
    """
    times = {}
    for phase, name in enumerate(STEPS):
        medians = np.array([percentile(samples[:, phase], 50) for samples in phases])
        times[name] = PhaseTimes(min=_short(medians.min()), mean=_short(medians.mean()), max=_short(medians.max()))
    return times


def _communication(root: Array, launches: Sequence[Measured]) -> tuple[float | None, float | None]:
    """Return the median time of the root's collectives in rounds, and the median time of its bare collectives.

    `root` has shape (samples, 9).
    """
    if not len(root):
        return None, None
    within = percentile(root[:, UPLINK] + root[:, DOWNLINK], 50)
    samples = [launch.bare for launch in launches if launch.bare is not None]
    return within, percentile(1e6 * np.concatenate(samples).sum(axis=1), 50) if samples else None


def _short(value: float) -> float:
    """Return the value rounded to six digits; a whole number becomes an integer."""
    value = float(value)
    return int(value) if value.is_integer() else float(f"{value:.6g}")
