"""Recommend a compressor for each problem, with the reasons and the uncertainty of the choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..log import schema
from ..log.reader import Log, usable
from .cells import size
from .document import INVALID, VALID, Analysis, ComparableGroup, Decision, Entry, PenaltyComparison, Ranked
from .heterogeneity import Shifted, comparisons, references
from .rates import FEWEST, RESAMPLES, first_at_or_below, resampled
from .series import grouped, names_of

Floats = NDArray[np.float64]

CLEAR_CONFIDENCE = 0.95
"""Share of resamples in which the best compressor must stay the best for the choice to be called clear."""
EQUAL_FACTOR = 1.3
"""Factor within which omegas, or bits a message, count as equal."""
BIAS_DOMINATES = 0.5
"""Share of bias in the final risk above which a run is not in the regime of large K."""


class Candidate(NamedTuple):
    """A configuration that can be recommended."""

    name: str
    log: Log
    entry: Entry

    @property
    def final(self) -> float | None:
        """Mean final averaged excess risk."""
        return self.entry.excess_risk_averaged.mean


def decide(logs: Sequence[Log], analysis: Analysis) -> list[Decision]:
    """Return a decision for each group of configurations that differ only in the compressors and the route."""
    candidates = [
        Candidate(name, log, entry)
        for name, log, entry in zip(names_of(logs), logs, analysis.configurations, strict=True)
    ]
    trusted = {id(each.log): each.entry.valid and not _is_mostly_bias(each.entry) for each in candidates}
    twins = references(logs)
    groups = [(title, members) for title, members in grouped(logs) if len(members) > 1]
    pairs = [
        [
            Shifted(candidates[i].name, _omega(logs[i]) or 0.0, logs[i], twin)
            for i in members
            if (twin := twins[i]) is not None
        ]
        for _, members in groups
    ]
    kept_pairs = [[pair for pair in group if trusted[id(pair.log)] and trusted[id(pair.reference)]] for group in pairs]
    return [
        _decision(
            title,
            [candidates[i] for i in members],
            analysis.target_excess_risk,
            compared,
            [pair.name for pair in group if pair not in kept],
        )
        for (title, members), compared, group, kept in zip(
            groups, comparisons(kept_pairs), pairs, kept_pairs, strict=True
        )
    ]


def _decision(
    title: str,
    candidates: Sequence[Candidate],
    target: float | None,
    compared: list[PenaltyComparison],
    left_out: list[str],
) -> Decision:
    valid = [each for each in candidates if each.entry.valid]
    reached = [each for each in valid if each.entry.bytes_to_target is not None]
    order = sorted(reached, key=lambda each: each.entry.bytes_to_target or 0.0)
    share = _stability([each.log for each in valid], valid.index(order[0]), target) if order else None
    doubts = _doubts(candidates, valid)
    return Decision(
        problem=title,
        recommended=order[0].name if order else None,
        recommended_file=order[0].entry.file if order else None,
        share_of_resamples=share,
        reasons=_reasons(order, reached, valid, share),
        verdict=INVALID if doubts else VALID,
        doubts=doubts,
        target_not_reached=[each.name for each in valid if each not in reached],
        invalid=[each.name for each in candidates if not each.entry.valid],
        equal_omega=_equals(valid, [_omega(each.log) for each in valid]),
        equal_bits=_equals(valid, [_bits(each.entry) for each in valid]),
        heterogeneity=compared,
        heterogeneity_left_out=left_out,
    )


def _reasons(
    order: Sequence[Candidate], reached: Sequence[Candidate], valid: Sequence[Candidate], share: float | None
) -> list[str]:
    """Return the reasons for the recommendation, `order[0]`.

    `order` has the candidates of `reached` sorted by bytes to the target. The reasons include the share of resamples,
    and name the candidates with the fewest rounds and with the lowest final risk.
    """
    reasons = []
    if order:
        least, its_rounds = order[0].entry.bytes_to_target, order[0].entry.rounds_to_target
        reasons.append(f"fewest uplink bytes to the target: {size(least)} in {its_rounds:,} rounds")
        if len(order) > 1 and least:
            factor = (order[1].entry.bytes_to_target or 0.0) / least
            reasons.append(f"the next, {order[1].name}, takes {factor:.3g} times as many")
        if share is not None:
            clear = "clear" if share >= CLEAR_CONFIDENCE else "not clear: the order varies"
            reasons.append(f"the cheapest in {100 * share:.0f}% of {RESAMPLES:,} resamples of the repetitions, {clear}")
        quickest = min(reached, key=lambda each: each.entry.rounds_to_target or 0)
        reasons.append(f"fewest rounds: {quickest.name}, {quickest.entry.rounds_to_target:,}")
    finals = [(each.final, i) for i, each in enumerate(valid) if each.final is not None]
    if finals:
        reasons.append(f"lowest final risk: {valid[min(finals)[1]].name}")
    return reasons


def _doubts(candidates: Sequence[Candidate], valid: Sequence[Candidate]) -> list[str]:
    """Return the reasons not to rely on the comparison; empty if there are none."""
    doubts = []
    if len(valid) < 2:
        doubts.append(f"{len(valid)} of {len(candidates)} configurations are VALID; a choice needs two")
    fewest = min((int(usable(each.log).sum()) for each in valid), default=0)
    if valid and fewest < FEWEST:
        doubts.append(f"too few repetitions: {fewest}; at least {FEWEST} are needed")
    biased = [each.name for each in valid if _is_mostly_bias(each.entry)]
    if biased:
        doubts.append(
            f"not in the regime of large K: bias, mostly that of the initial iterate, makes up more than half of the "
            f"final risk of {'; '.join(biased)}"
        )
    return doubts


def _is_mostly_bias(entry: Entry) -> bool:
    mean, parts = entry.excess_risk_averaged.mean, entry.decomposition
    if mean is None or parts.bias is None or parts.bias_error is None:
        return False
    return parts.bias - 2 * parts.bias_error > BIAS_DOMINATES * mean


def _stability(logs: Sequence[Log], best: int, target: float | None) -> float | None:
    """Return the share of paired resamples of the repetitions in which `logs[best]` needs the fewest bytes.

    None if there are fewer than FEWEST repetitions, or if the logs have different seeds.
    """
    kept = [usable(log) for log in logs]
    seeds = [log.repetition[rows].tolist() for log, rows in zip(logs, kept, strict=True)]
    if len(logs) < 2 or any(other != seeds[0] for other in seeds) or len(seeds[0]) < FEWEST:
        return None
    risks = [log.excess_risk_averaged[rows] for log, rows in zip(logs, kept, strict=True)]
    sent = [log.uplink_transported_bytes[rows] for log, rows in zip(logs, kept, strict=True)]
    wins = 0
    for rows in resampled(len(seeds[0])):
        pairs = zip(risks, sent, strict=True)
        costs = [_bytes_to(risk[rows].mean(axis=0), count[rows].mean(axis=0), target) for risk, count in pairs]
        wins += costs[best] < min(cost for i, cost in enumerate(costs) if i != best)
    return wins / RESAMPLES


def _bytes_to(curve: Floats, sent: Floats, target: float | None) -> float:
    hit = first_at_or_below(curve, target)
    return np.inf if hit is None else float(sent[hit])


def _omega(log: Log) -> float | None:
    omega = log.attributes.get(schema.OMEGA.name)
    return None if omega is None or omega <= 0 else float(omega)


def _bits(entry: Entry) -> float | None:
    bits = entry.uplink.information_bits
    return bits / (entry.clients * entry.rounds) if bits else None


def _equals(candidates: Sequence[Candidate], values: Sequence[float | None]) -> list[ComparableGroup]:
    """Group compressors whose values (omega, or bits a message) are about equal, each group sorted by final risk."""
    known = sorted((value, i) for i, value in enumerate(values) if value and candidates[i].final)
    groups: list[list[tuple[float, int]]] = []
    for value, i in known:
        if groups and value <= EQUAL_FACTOR * groups[-1][0][0]:
            groups[-1].append((value, i))
        else:
            groups.append([(value, i)])
    return [
        ComparableGroup(float(np.mean([value for value, _ in group])), _ranking([candidates[i] for _, i in group]))
        for group in groups
        if len(group) > 1
    ]


def _ranking(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Return the final risks divided by the lowest one, in ascending order."""
    order = sorted(candidates, key=lambda each: each.final or 0.0)
    least = order[0]
    return [Ranked(each.name, (each.final or 0.0) / (least.final or 1.0), _ratio_error(each, least)) for each in order]


def _ratio_error(candidate: Candidate, least: Candidate) -> float | None:
    """Return the standard error of the ratio of two mean risks, as if the two means were independent.

    With paired repetitions the true error is smaller.
    """
    risks = candidate.entry.excess_risk_averaged, least.entry.excess_risk_averaged
    if candidate.entry is least.entry or any(risk.standard_error is None for risk in risks):
        return None
    ours, theirs = ((risk.mean or 0.0, risk.standard_error or 0.0) for risk in risks)
    return float(np.hypot(ours[1] / ours[0], theirs[1] / theirs[0]) * ours[0] / theirs[0])
