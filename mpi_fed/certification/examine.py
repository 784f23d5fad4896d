"""One case, all its dimensions: from messages to a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from ..compressors import Compressor
from . import exact, inputs, statistics
from .cases import FULL, Case, draws_at
from .channel import CLIENTS, Channel
from .draws import Draws
from .scores import LIMIT, SINGLE_RATE, Findings

NUMBERS = 2**18
"""Numbers that are decoded between two looks at them."""
SUBJECTS = ("bias", "variance", "covariance", "length", "independence")


def examine(case: Case, draws: int, channel: Channel) -> dict[str, Any]:
    """The case's object of `certify --json`. Both ranks call it; what rank 1 gets says nothing."""
    findings = Findings()
    places = [_examine_at(case, d, draws_at(d, draws), channel, findings) for d in case.dimensions]
    shown = max((place for place in places if place["dimension"] <= FULL), key=_dimension, default=places[0])
    return {
        "kind": case.compressor.kind,
        "label": case.label,
        "parameters": case.compressor.model_dump(exclude_none=True),
        **{key: shown[key] for key in ("dimension", "omega", "variance_ratio")},
        **{f"{subject}_z_max": findings.largest.get(subject) for subject in SUBJECTS},
        **{key: shown[key] for key in ("payload_bytes_measured", "payload_bits_theory")},
        "round_trip_exact": all(place["round_trip_exact"] for place in places),
        "dimensions": places,
        "comparisons": findings.comparisons,
        "z_limit": LIMIT,
        "error_rate": findings.comparisons * SINGLE_RATE,
        "verdict": "FAIL" if findings.reasons else "PASS",
        "reasons": list(dict.fromkeys(findings.reasons)),
    }


def _dimension(place: dict[str, Any]) -> int:
    return place["dimension"]


def _examine_at(case: Case, dimension: int, count: int, channel: Channel, findings: Findings) -> dict[str, Any]:
    """What one dimension says."""
    compressor, here = case.compressor.resolve(dimension), Findings()
    sender = exact.Sender(channel, compressor, dimension, here)
    twin = sender if compressor.value_bits == 64 else _twin(case, dimension, channel, here) or sender
    round_trip = exact.check(sender, dimension, twin)
    ratios, lengths = [], []
    for name, x in inputs.statistical(dimension).items():
        there = Findings()
        if compressor.biased:
            ratios.append(exact.check_expectation(sender, x, there))
            lengths.append(float(sender.most))
            here.include(there, name)
            continue
        draws = Draws(x)
        for rounds in _rounds(count, dimension):
            batch, _ = sender.send(x, rounds)
            if channel.is_root:
                draws.add(batch)
        if channel.is_root:
            ratios.append(statistics.judge(compressor, x, draws, there))
            lengths.append(draws.of("bytes").mean())
            here.include(there, name)
    findings.include(here, f"d = {dimension:,}")
    known = [ratio for ratio in ratios if ratio is not None]
    return {
        "dimension": dimension,
        "draws": count,
        "omega": compressor.omega_bound(dimension),
        "omega_tight": compressor.omega_tight(dimension),
        "variance_ratio": max(known, default=None),
        **{f"{subject}_z_max": here.largest.get(subject) for subject in SUBJECTS},
        "payload_bytes_measured": float(sum(lengths) / len(lengths)) if lengths else None,
        "payload_bits_theory": compressor.payload_bits(dimension),
        "round_trip_exact": round_trip,
    }


def _twin(case: Case, dimension: int, channel: Channel, findings: Findings) -> exact.Sender | None:
    """The same compressor with float64 on the wire, where it takes that."""
    if 64 not in get_args(type(case.compressor).model_fields["value_bits"].annotation):
        return None
    wide: Compressor = case.compressor.model_copy(update={"value_bits": 64})
    return exact.Sender(channel, wide.resolve(dimension), dimension, findings)


def _rounds(count: int, dimension: int) -> Iterator[range]:
    """The rounds of `count` messages, in stretches of an even number."""
    pairs = -(-count // (2 * CLIENTS))
    stretch = max(1, NUMBERS // (2 * CLIENTS * dimension))
    for first in range(0, pairs, stretch):
        yield range(2 * first, 2 * min(pairs, first + stretch))
