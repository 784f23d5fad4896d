"""Examination of a case at all its dimensions: messages, checks and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ..compressors import Compressor
from . import exact, inputs, statistics
from .cases import FULL, Case, draws_at
from .channel import CLIENTS, Channel
from .document import Certificate, DimensionReport
from .draws import Draws
from .scores import LIMIT, SINGLE_RATE, Findings

Array = NDArray[np.float64]

NUMBERS = 2**18
"""Approximate number of coordinates that are decoded at once."""
SUBJECTS = ("bias", "variance", "covariance", "length", "independence")
"""Subjects of the scores."""


def examine(case: Case, draws: int, channel: Channel) -> Certificate:
    """Return the certificate of a case. Both ranks must call this; only the root's certificate is meaningful."""
    findings = Findings()
    reports = [_examine_at(case, d, draws_at(d, draws), channel, findings) for d in case.dimensions]
    shown = max((report for report in reports if report.dimension <= FULL), key=_dimension, default=reports[0])
    return Certificate(
        kind=case.compressor.kind,
        label=case.label,
        parameters=case.compressor.model_dump(exclude_none=True),
        dimension=shown.dimension,
        omega=shown.omega,
        variance_ratio=shown.variance_ratio,
        **_largest_scores(findings),
        payload_bytes_measured=shown.payload_bytes_measured,
        payload_bits_theory=shown.payload_bits_theory,
        round_trip_exact=all(report.round_trip_exact for report in reports),
        dimensions=reports,
        comparisons=findings.comparisons,
        z_limit=LIMIT,
        error_rate=findings.comparisons * SINGLE_RATE,
        verdict="FAIL" if findings.reasons else "PASS",
        reasons=list(dict.fromkeys(findings.reasons)),
    )


def _dimension(report: DimensionReport) -> int:
    return report.dimension


def _largest_scores(findings: Findings) -> dict[str, float | None]:
    """Return the fields `bias_z_max`, `variance_z_max` and so on."""
    return {f"{subject}_z_max": findings.largest.get(subject) for subject in SUBJECTS}


def _examine_at(case: Case, dimension: int, count: int, channel: Channel, findings: Findings) -> DimensionReport:
    """Examine one dimension with `count` messages for each x; return the report and enter the findings."""
    compressor, here = case.compressor.resolve(dimension, CLIENTS), Findings()
    sender = exact.Sender(channel, compressor, dimension, here)
    twin = sender if compressor.value_bits == 64 else _twin(case, dimension, channel, here) or sender
    round_trip = exact.check_exact_properties(sender, dimension, twin)
    ratios, lengths = [], []
    for name, x in inputs.statistical_vectors(dimension).items():
        at_x = Findings()
        if compressor.biased:
            ratios.append(exact.check_expectation(sender, x, at_x))
            lengths.append(float(sender.longest))
        else:
            draws = _draws(sender, x, count)
            if channel.is_root:
                ratios.append(statistics.compare_draws(compressor, x, draws, at_x))
                lengths.append(draws.of("bytes").mean())
        here.include(at_x, name)
    findings.include(here, f"d = {dimension:,}")
    return DimensionReport(
        dimension=dimension,
        draws=count,
        omega=compressor.omega_bound(dimension),
        omega_tight=compressor.omega_tight(dimension),
        variance_ratio=max((ratio for ratio in ratios if ratio is not None), default=None),
        **_largest_scores(here),
        payload_bytes_measured=float(sum(lengths) / len(lengths)) if lengths else None,
        payload_bits_theory=compressor.payload_bits(dimension),
        round_trip_exact=round_trip,
    )


def _draws(sender: exact.Sender, x: Array, count: int) -> Draws:
    """Send x in `count` messages; return their statistics, which only the root has."""
    draws = Draws(x)
    for rounds in _rounds(count, len(x)):
        batch, _ = sender.send(x, rounds)
        if sender.channel.is_root:
            draws.add(batch)
    return draws


def _twin(case: Case, dimension: int, channel: Channel, findings: Findings) -> exact.Sender | None:
    """Return a sender of the same compressor in float64, or None if the compressor does not support float64."""
    if 64 not in get_args(type(case.compressor).model_fields["value_bits"].annotation):
        return None
    wide: Compressor = case.compressor.model_copy(update={"value_bits": 64})
    return exact.Sender(channel, wide.resolve(dimension, CLIENTS), dimension, findings)


def _rounds(count: int, dimension: int) -> Iterator[range]:
    """Yield the rounds of `count` messages, in ranges of an even number of rounds."""
    pairs = -(-count // (2 * CLIENTS))
    stretch = max(1, NUMBERS // (2 * CLIENTS * dimension))
    for first in range(0, pairs, stretch):
        yield range(2 * first, 2 * min(pairs, first + stretch))
