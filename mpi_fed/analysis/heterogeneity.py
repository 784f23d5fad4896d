"""What clients that differ cost: the penalty over the homogeneous reference, and how compressors compare in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..log.reader import Log, usable
from .rates import CONFIDENCE, ROUNDING

Floats = NDArray[np.float64]

SHIFTS = {
    "problem": {
        *("shift", "decays", "optimum_spread"),
        *("split", "clusters", "embedding", "clustering", "concentration"),
    },
    "study": {"name", "repetitions"},
}
"""Keys in which a configuration may differ from its homogeneous reference."""
HOMOGENEOUS = {"shift": "none", "split": "iid"}
"""The values under which all clients have one law."""
PROJECTIONS, QUANTIZATION = ("sketch", "rand-h", "partial-participation"), "quantization"
BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"


def is_reference(log: Log) -> bool:
    """Whether all clients have one law, as far as the tables tell."""
    problem = log.configuration["problem"]
    told = [problem[key] == value for key, value in HOMOGENEOUS.items() if key in problem]
    return bool(told) and all(told)


def references(logs: Sequence[Log]) -> list[Log | None]:
    """The homogeneous reference of each log; None where there is none, and for those that are references."""
    known = {_shared(log): log for log in logs if is_reference(log) and _finals(log).mean() > 0}
    return [None if is_reference(log) else known.get(_shared(log)) for log in logs]


def _shared(log: Log) -> str:
    """What a configuration shares with its homogeneous reference, as text."""
    shared = {
        name: {key: value for key, value in table.items() if key not in SHIFTS.get(name, ())}
        for name, table in log.configuration.items()
        if name != "log"
    }
    return json.dumps(shared, sort_keys=True)


def _finals(log: Log) -> Floats:
    """The final averaged risks of the repetitions that count; one 0 where none does."""
    kept = usable(log)
    return log.excess_risk_averaged[kept, -1] if kept.any() else np.zeros(1)


def penalty(log: Log, reference: Log | None) -> tuple[float | None, float | None]:
    """The final mean risk over that of the reference, with its standard error."""
    if reference is None or not usable(log).any():
        return None, None
    ratio = float(_finals(log).mean() / _finals(reference).mean())
    spread, _ = _spread([log], [reference])
    return ratio, None if spread is None else ratio * spread


class Shifted(NamedTuple):
    """A configuration whose clients differ, beside its homogeneous reference."""

    name: str
    omega: float
    log: Log
    reference: Log


def comparisons(groups: Sequence[Sequence[Shifted]]) -> list[list[dict[str, Any]]]:
    """For each group, each projection's penalty beside that of the quantization of nearest omega, and the verdict.

    The intervals of all ratios hold together with CONFIDENCE, so that one by chance better or worse among many is
    not taken for an answer.
    """
    pairs = [_pairs(group) for group in groups]
    return [[_compared(*pair, sum(map(len, pairs))) for pair in group] for group in pairs]


def _pairs(members: Sequence[Shifted]) -> list[tuple[Shifted, Shifted]]:
    known = [one for one in members if penalty(one.log, one.reference)[1] is not None]
    quantizations = [one for one in known if _kind(one) == QUANTIZATION]
    projections = [one for one in known if _kind(one) in PROJECTIONS] if quantizations else []
    return [(one, min(quantizations, key=lambda q: abs(q.omega - one.omega))) for one in projections]


def _kind(one: Shifted) -> str:
    return str(one.log.configuration["compressor"]["kind"])


def _compared(ours: Shifted, theirs: Shifted, count: int) -> dict[str, Any]:
    (own, error), (its, its_error) = (penalty(one.log, one.reference) for one in (ours, theirs))
    level = 1 - (1 - CONFIDENCE) / count  # Bonferroni
    ratio, low, high = ratio_interval([ours.log, theirs.reference], [theirs.log, ours.reference], level)
    return {
        "name": ours.name,
        "penalty": own,
        "error": error,
        "reference": theirs.name,
        "reference_penalty": its,
        "reference_error": its_error,
        "ratio": {"estimate": ratio, "low": low, "high": high, "confidence": level},
        "verdict": BETTER if high < 1 else WORSE if low > 1 else UNDECIDED,
    }


def ratio_interval(
    above: Sequence[Log], below: Sequence[Log], confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """The product of the mean final risks of `above` over that of `below`, and Student's interval of its logarithm."""
    from scipy import stats

    ratio = float(np.prod([_finals(log).mean() for log in above]) / np.prod([_finals(log).mean() for log in below]))
    spread, freedom = _spread(above, below)
    assert spread is not None
    half = max(ROUNDING, float(stats.t.ppf((1 + confidence) / 2, freedom)) * spread)
    return ratio, ratio * float(np.exp(-half)), ratio * float(np.exp(half))


def _spread(above: Sequence[Log], below: Sequence[Log]) -> tuple[float | None, int]:
    """The standard error of the logarithm of that ratio by the delta method, and its degrees of freedom.

    Repetitions of one seed saw the same data, so what they share cancels; where the seeds are others the means are
    taken as independent. None with one repetition.
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
    alone = [np.std(one, ddof=1) / np.sqrt(len(one)) for one in relative]
    return float(np.linalg.norm(alone)), fewest - 1


def answer(decisions: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Whether projections bear heterogeneity better than quantization, over all comparisons; None without penalties."""
    found = [{"problem": decision["problem"], **one} for decision in decisions for one in decision["heterogeneity"]]
    left_out = sum(len(decision["heterogeneity_left_out"]) for decision in decisions)
    if not found and not left_out:
        return None
    return {
        "answer": _word({one["verdict"] for one in found}),
        "confidence": CONFIDENCE,
        "comparisons": len(found),
        "left_out": left_out,
        "compressors": [
            _tally([one for one in found if one["name"] == name])
            for name in dict.fromkeys(one["name"] for one in found)
        ],
    }


def _word(verdicts: set[str]) -> str:
    if {BETTER, WORSE} <= verdicts:
        return "it depends"
    if BETTER in verdicts:
        return "in part" if UNDECIDED in verdicts else "yes"
    return "no" if WORSE in verdicts else "undecided"


def _tally(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How often one compressor is better and worse, and its least and greatest ratio."""
    verdicts = [one["verdict"] for one in found]
    least, most = (pick(found, key=lambda one: one["ratio"]["estimate"]) for pick in (min, max))
    return {
        "name": found[0]["name"],
        **{verdict: verdicts.count(verdict) for verdict in (BETTER, UNDECIDED, WORSE)},
        **{
            key: {"problem": one["problem"], **one["ratio"]}
            for key, one in (("least_ratio", least), ("greatest_ratio", most))
        },
    }
