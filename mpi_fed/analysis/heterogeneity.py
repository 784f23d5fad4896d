"""The penalty of heterogeneity: the final risk with different clients, divided by the final risk with equal clients.

The run whose clients all have the same distribution is the homogeneous reference. Compressors are compared by their
penalties.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..log.reader import Log, usable
from .document import Decision, HeterogeneityAnswer, PenaltyComparison, ProblemRatio, Ratio, Tally
from .rates import CONFIDENCE, ROUNDING

Floats = NDArray[np.float64]

SHIFTS = {
    "problem": {
        *("shift", "decays", "optimum_spread"),
        *("split", "clusters", "embedding", "clustering", "concentration"),
    },
    "study": {"name", "repetitions"},
}
"""Keys in which a configuration may differ from its homogeneous reference, by table."""
HOMOGENEOUS = {"shift": "none", "split": "iid"}
"""Values of the problem's keys for which all clients have the same distribution."""
PROJECTIONS, QUANTIZATION = ("sketch", "rand-h", "partial-participation"), "quantization"
BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"


def is_reference(log: Log) -> bool:
    """Return True if, according to the keys of the problem, all clients have the same distribution."""
    problem = log.configuration["problem"]
    alike = [problem[key] == value for key, value in HOMOGENEOUS.items() if key in problem]
    return bool(alike) and all(alike)


def references(logs: Sequence[Log]) -> list[Log | None]:
    """Return the homogeneous reference of each log; None without one, and None if the log is itself a reference."""
    known = {_shared(log): log for log in logs if is_reference(log) and _finals(log).mean() > 0}
    return [None if is_reference(log) else known.get(_shared(log)) for log in logs]


def _shared(log: Log) -> str:
    """Return the keys and values that a configuration shares with its homogeneous reference, as text."""
    shared = {
        name: {key: value for key, value in table.items() if key not in SHIFTS.get(name, ())}
        for name, table in log.configuration.items()
        if name != "log"
    }
    return json.dumps(shared, sort_keys=True)


def _finals(log: Log) -> Floats:
    """Return the final averaged risks of the R repetitions that count, or a single 0 if R = 0."""
    kept = usable(log)
    return log.excess_risk_averaged[kept, -1] if kept.any() else np.zeros(1)


def penalty(log: Log, reference: Log | None) -> tuple[float | None, float | None]:
    """Return the final mean risk divided by the final mean risk of the reference, and this ratio's standard error."""
    if reference is None or not usable(log).any():
        return None, None
    ratio = float(_finals(log).mean() / _finals(reference).mean())
    spread, _ = _spread([log], [reference])
    return ratio, None if spread is None else ratio * spread


class Shifted(NamedTuple):
    """A configuration whose clients differ, with its homogeneous reference."""

    name: str
    omega: float
    log: Log
    reference: Log


def comparisons(groups: Sequence[Sequence[Shifted]]) -> list[list[PenaltyComparison]]:
    """Compare, in each group, the penalty of each projection with that of the quantization with the nearest omega.

    The intervals of all ratios contain the true ratios simultaneously with probability CONFIDENCE. Without this, some
    of many comparisons would be called better or worse by chance.
    """
    pairs = [_pairs(group) for group in groups]
    return [[_compared(*pair, sum(map(len, pairs))) for pair in group] for group in pairs]


def _pairs(members: Sequence[Shifted]) -> list[tuple[Shifted, Shifted]]:
    known = [each for each in members if penalty(each.log, each.reference)[1] is not None]
    quantizations = [each for each in known if _kind(each) == QUANTIZATION]
    projections = [each for each in known if _kind(each) in PROJECTIONS] if quantizations else []
    return [(each, _nearest(each.omega, quantizations)) for each in projections]


def _nearest(omega: float, members: Sequence[Shifted]) -> Shifted:
    return min(members, key=lambda each: abs(each.omega - omega))


def _kind(shifted: Shifted) -> str:
    return str(shifted.log.configuration["compressor"]["kind"])


def _compared(ours: Shifted, theirs: Shifted, count: int) -> PenaltyComparison:
    (our_penalty, our_error), (their_penalty, their_error) = (
        penalty(each.log, each.reference) for each in (ours, theirs)
    )
    assert our_penalty is not None
    assert our_error is not None
    assert their_penalty is not None
    assert their_error is not None
    level = 1 - (1 - CONFIDENCE) / count  # Bonferroni
    ratio, low, high = ratio_interval([ours.log, theirs.reference], [theirs.log, ours.reference], level)
    return PenaltyComparison(
        name=ours.name,
        penalty=our_penalty,
        error=our_error,
        reference=theirs.name,
        reference_penalty=their_penalty,
        reference_error=their_error,
        ratio=Ratio(ratio, low, high, level),
        verdict=BETTER if high < 1 else WORSE if low > 1 else UNDECIDED,
    )


def ratio_interval(
    above: Sequence[Log], below: Sequence[Log], confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Return (product of the mean final risks of `above`) / (the same product for `below`), and its interval's ends.

    The interval is Student's t-interval of the logarithm.
    """
    from scipy import stats

    ratio = float(np.prod([_finals(log).mean() for log in above]) / np.prod([_finals(log).mean() for log in below]))
    spread, freedom = _spread(above, below)
    assert spread is not None
    half = max(ROUNDING, float(stats.t.ppf((1 + confidence) / 2, freedom)) * spread)
    return ratio, ratio * float(np.exp(-half)), ratio * float(np.exp(half))


def _spread(above: Sequence[Log], below: Sequence[Log]) -> tuple[float | None, int]:
    """Return the standard error of the logarithm of `ratio_interval`'s ratio, and its degrees of freedom.

    The error comes from the delta method. Repetitions with the same seed use the same data, so their common noise
    cancels. If the logs have different seeds, the means are taken as independent. The error is None if a log has fewer
    than two repetitions that count.
    """
    logs = [*above, *below]
    signs = np.repeat([1.0, -1.0], [len(above), len(below)])
    relative = [_finals(log) / _finals(log).mean() if _finals(log).any() else _finals(log) for log in logs]
    fewest = min(map(len, relative))
    if fewest < 2:
        return None, 0
    seeds = [log.repetition[usable(log)].tolist() for log in logs]
    if all(other == seeds[0] for other in seeds):
        together = signs @ np.array(relative)
        return float(np.std(together, ddof=1) / np.sqrt(fewest)), fewest - 1
    alone = [np.std(sample, ddof=1) / np.sqrt(len(sample)) for sample in relative]
    return float(np.linalg.norm(alone)), fewest - 1


def answer(decisions: Sequence[Decision]) -> HeterogeneityAnswer | None:
    """Return whether projections tolerate heterogeneity better than quantization; None without penalties."""
    pairs = [(decision.problem, each) for decision in decisions for each in decision.heterogeneity]
    left_out = sum(len(decision.heterogeneity_left_out) for decision in decisions)
    if not pairs and not left_out:
        return None
    by_name: dict[str, list[tuple[str, PenaltyComparison]]] = {}
    for problem, each in pairs:
        by_name.setdefault(each.name, []).append((problem, each))
    return HeterogeneityAnswer(
        answer=_word({each.verdict for _, each in pairs}),
        confidence=CONFIDENCE,
        comparisons=len(pairs),
        left_out=left_out,
        compressors=[_tally(name, its_pairs) for name, its_pairs in by_name.items()],
    )


def _word(verdicts: set[str]) -> str:
    if {BETTER, WORSE} <= verdicts:
        return "it depends"
    if BETTER in verdicts:
        return "in part" if UNDECIDED in verdicts else "yes"
    return "no" if WORSE in verdicts else "undecided"


def _tally(name: str, pairs: Sequence[tuple[str, PenaltyComparison]]) -> Tally:
    """Count the verdicts on one compressor, and find its least and greatest ratio."""
    verdicts = [each.verdict for _, each in pairs]
    ratios = [
        ProblemRatio(problem, each.ratio.estimate, each.ratio.low, each.ratio.high, each.ratio.confidence)
        for problem, each in pairs
    ]
    return Tally(
        name=name,
        better=verdicts.count(BETTER),
        undecided=verdicts.count(UNDECIDED),
        worse=verdicts.count(WORSE),
        least_ratio=min(ratios, key=lambda ratio: ratio.estimate),
        greatest_ratio=max(ratios, key=lambda ratio: ratio.estimate),
    )
