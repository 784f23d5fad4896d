"""Compare two bench documents: find the results that are slower or faster in the second document, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import VALID
from .document import Bench, ComparedResult, Comparison, Result
from .load import key_of

CONFIDENCE = 0.95
"""Confidence at which all intervals of a comparison hold jointly."""
FASTER, SLOWER, NEITHER = "faster", "slower", "no difference shown"
SINGLE = "within a launch"
SEVERAL = "between launches"


def compare_benches(first: Bench, second: Bench, threshold: float) -> Comparison:
    """Return the comparison of two documents.

    A result is slower if the interval of the ratio of medians (second over first) lies above 1 and the ratio reaches
    `threshold`.
    """
    before, after = ({key_of(result): result for result in bench.results} for bench in (first, second))
    common = [key for key in before if key in after]
    valid = [key for key in common if before[key].verdict == after[key].verdict == VALID]
    lines = [_line(before[key], after[key], (1 - CONFIDENCE) / len(valid), threshold) for key in valid]
    return Comparison(
        confidence=CONFIDENCE,
        comparisons=len(lines),
        threshold=threshold,
        machine_differs=_differences(first.machine, second.machine),
        lines=lines,
        only_in_first=[_name(before[key]) for key in before if key not in after],
        only_in_second=[_name(after[key]) for key in after if key not in before],
        invalid=[_name(before[key]) for key in common if key not in valid],
        slower=sum(line.verdict == SLOWER for line in lines),
        faster=sum(line.verdict == FASTER for line in lines),
    )


def _differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the facts in which two machines differ: name to [first, second]."""
    facts = [_flat(machine) for machine in (first, second)]
    pairs = {name: [machine.get(name) for machine in facts] for name in sorted({*facts[0], *facts[1]})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flat(machine: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a machine; each entry of a nested table becomes a fact of its own."""
    facts: dict[str, Any] = {}
    for name, value in machine.items():
        facts |= {f"{name} {key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
    return facts


def _line(before: Result, after: Result, error: float, threshold: float) -> ComparedResult:
    """Compare one result: the ratio of its medians, and an interval that misses the ratio with probability `error`."""
    launches = before.launch_medians, after.launch_medians
    several = min(map(len, launches)) > 1
    ratio, low, high = between_launches(*launches, error) if several else within(before, after, error)
    verdict = NEITHER
    if low is not None and low > 1 and ratio >= threshold:
        verdict = SLOWER
    if high is not None and high < 1 and ratio <= 1 / threshold:
        verdict = FASTER
    assert before.microseconds is not None
    assert after.microseconds is not None
    return ComparedResult(
        route=before.route,
        compressor=before.compressor,
        dimension=before.dimension,
        ranks=before.ranks,
        downlink_bits=before.downlink_bits,
        downlink=before.downlink,
        label=before.name,
        microseconds=[before.microseconds.median, after.microseconds.median],
        launches=[len(medians) for medians in launches],
        ratio=ratio,
        low=low,
        high=high,
        uncertainty=SEVERAL if several else SINGLE,
        verdict=verdict,
    )


def between_launches(
    before: Sequence[float], after: Sequence[float], error: float
) -> tuple[float, float | None, float | None]:
    """Return the ratio of the geometric means of the launches' medians, and the ends of its interval.

    The interval is Welch's t interval for the difference of the mean logarithms. It does not contain the true ratio
    with probability `error`.
    """
    from scipy import stats

    logs = [np.log(medians) for medians in (before, after)]
    difference = float(logs[1].mean() - logs[0].mean())
    parts = [float(sample.var(ddof=1)) / len(sample) for sample in logs]
    half = 0.0
    if sum(parts) > 0:
        weights = [part**2 / (len(sample) - 1) for part, sample in zip(parts, logs, strict=True)]
        freedom = sum(parts) ** 2 / sum(weights)
        half = float(stats.t.isf(error / 2, freedom)) * math.sqrt(sum(parts))
    return math.exp(difference), _finite(difference - half), _finite(difference + half)


def _finite(logarithm: float) -> float | None:
    """Return exp(logarithm), or None if it is too large or too small for a float."""
    return math.exp(logarithm) if abs(logarithm) < 700 else None


def within(before: Result, after: Result, error: float) -> tuple[float, float | None, float | None]:
    """Return the ratio of the medians of rounds, and the ends of its interval, for any distribution.

    The interval comes from the order statistics that enclose each median. It does not contain the true ratio with
    probability at most `error`.
    """
    assert before.microseconds is not None
    assert after.microseconds is not None
    (low, high), (after_low, after_high) = (_enclosing(result, error / 2) for result in (before, after))
    ratio = after.microseconds.median / before.microseconds.median
    return (
        ratio,
        None if after_low is None or high is None else after_low / high,
        None if after_high is None or low is None else after_high / low,
    )


def _enclosing(result: Result, error: float) -> tuple[float | None, float | None]:
    """Return two samples that enclose the true median with probability 1 - `error`; None if there are too few."""
    from scipy import stats

    count, quantiles = result.repetitions, result.quantiles
    rank = int(stats.binom.ppf(error / 2, count, 0.5))  # fewer than this lie below the median: at most error / 2
    if rank < 1:
        return None, None
    return quantiles[100 * rank // count], quantiles[-(-100 * (count + 1 - rank) // count)]


def _name(result: Result) -> str:
    from .table import route_label

    ranks = f"{result.ranks} rank{'s' * (result.ranks != 1)}"
    return f"{result.name} on {route_label(result)}, d = {result.dimension:,}, {ranks}"
