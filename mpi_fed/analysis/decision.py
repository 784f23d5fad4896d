"""Which compressor to take: a recommendation for each problem, with its reasons and its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..log.reader import Log, usable
from .heterogeneity import Shifted, comparisons, references
from .rates import FEWEST, RESAMPLES, first_at_or_below, resampled
from .series import grouped, names_of
from .summary import Entry

Floats = NDArray[np.float64]

SURE = 0.95
"""The share of resamples in which the best must stay the best for the choice to be called clear."""
NEAR = 1.3
"""Omegas, or bits a message, within this factor count as equal."""
MOSTLY = 0.5
"""A final risk of which bias makes up more than this share is not in the regime of large K."""


def decide(logs: Sequence[Log], summary: dict[str, Any]) -> list[dict[str, Any]]:
    """One decision for each group of configurations that differ in the compressor and the route alone."""
    entries = summary["configurations"]
    names = names_of(logs)
    told = {
        id(log): entry["verdict"] == "VALID" and not _is_mostly_bias(entry)
        for log, entry in zip(logs, entries, strict=True)
    }
    twins = references(logs)
    groups = [(title, members) for title, members in grouped(logs) if len(members) > 1]
    pairs = [
        [Shifted(names[i], _omega(logs[i]) or 0.0, logs[i], twin) for i in members if (twin := twins[i]) is not None]
        for _, members in groups
    ]
    sound = [[one for one in group if told[id(one.log)] and told[id(one.reference)]] for group in pairs]
    return [
        _decision(
            title,
            [names[i] for i in members],
            [logs[i] for i in members],
            [entries[i] for i in members],
            summary["target_excess_risk"],
        )
        | {
            "heterogeneity": compared,
            "heterogeneity_left_out": [one.name for one in group if one not in kept],
        }
        for (title, members), compared, group, kept in zip(groups, comparisons(sound), pairs, sound, strict=True)
    ]


def _decision(
    title: str, names: Sequence[str], logs: Sequence[Log], entries: Sequence[Entry], target: float | None
) -> dict[str, Any]:
    sound = [i for i, entry in enumerate(entries) if entry["verdict"] == "VALID"]
    reached = [i for i in sound if entries[i]["bytes_to_target"] is not None]
    order = sorted(reached, key=lambda i: entries[i]["bytes_to_target"])
    reasons = []
    share = None
    if order:
        best = entries[order[0]]
        reasons.append(f"fewest uplink bytes to the target: {_cost(best)}")
        if len(order) > 1 and best["bytes_to_target"]:
            factor = entries[order[1]]["bytes_to_target"] / best["bytes_to_target"]
            reasons.append(f"the next, {names[order[1]]}, takes {factor:.3g} times as many")
        share = _stability([logs[i] for i in sound], sound.index(order[0]), target)
        if share is not None:
            clear = "clear" if share >= SURE else "not clear: they trade places"
            reasons.append(f"the cheapest in {100 * share:.0f}% of {RESAMPLES:,} resamples of the repetitions, {clear}")
        quickest = min(reached, key=lambda i: entries[i]["rounds_to_target"])
        reasons.append(f"fewest rounds: {names[quickest]}, {entries[quickest]['rounds_to_target']:,}")
    finals = [i for i in sound if entries[i]["excess_risk_averaged"]["mean"] is not None]
    if finals:
        lowest = min(finals, key=lambda i: entries[i]["excess_risk_averaged"]["mean"])
        reasons.append(f"lowest final risk: {names[lowest]}")
    return {
        "problem": title,
        "recommended": names[order[0]] if order else None,
        "recommended_file": entries[order[0]]["file"] if order else None,
        "share_of_resamples": share,
        "reasons": reasons,
        "verdict": "INVALID" if (doubts := _doubts(names, logs, entries, sound)) else "VALID",
        "doubts": doubts,
        "target_not_reached": [names[i] for i in sound if i not in reached],
        "invalid": [name for name, entry in zip(names, entries, strict=True) if entry["verdict"] != "VALID"],
        "equal_omega": _equals(names, entries, sound, [_omega(log) for log in logs]),
        "equal_bits": _equals(names, entries, sound, [_bits(entry) for entry in entries]),
    }


def _doubts(
    names: Sequence[str], logs: Sequence[Log], entries: Sequence[Entry], sound: Sequence[int]
) -> list[str]:
    """Why the comparison should not be relied on; empty where it can be."""
    found = []
    if len(sound) < 2:
        found.append(f"{len(sound)} of {len(entries)} configurations VALID, and a choice needs two")
    fewest = min((int(usable(logs[i]).sum()) for i in sound), default=0)
    if sound and fewest < FEWEST:
        found.append(f"too few repetitions: {fewest}, of at least {FEWEST}")
    biased = [names[i] for i in sound if _is_mostly_bias(entries[i])]
    if biased:
        found.append(
            f"not in the regime of large K: more than half of the final risk is bias, most of it the way from the "
            f"start, of {'; '.join(biased)}"
        )
    return found


def _is_mostly_bias(entry: Entry) -> bool:
    mean, bias, error = (
        entry["excess_risk_averaged"]["mean"],
        entry["decomposition"]["bias"],
        entry["decomposition"]["bias_error"],
    )
    return None not in (mean, bias, error) and bias - 2 * error > MOSTLY * mean


def _cost(entry: Entry) -> str:
    from .summary_table import size

    return f"{size(entry['bytes_to_target'])} in {entry['rounds_to_target']:,} rounds"


def _stability(logs: Sequence[Log], best: int, target: float | None) -> float | None:
    """In what share of paired resamples of the repetitions the best one needs the fewest bytes.

    None where repetitions are few, or not the same for all.
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
    omega = log.attributes.get("omega")
    return None if omega is None or omega <= 0 else float(omega)


def _bits(entry: Entry) -> float | None:
    bits, messages = entry["uplink"]["information_bits"], entry["clients"] * entry["rounds"]
    return bits / messages if bits else None


def _equals(
    names: Sequence[str], entries: Sequence[Entry], sound: Sequence[int], values: Sequence[float | None]
) -> list[dict[str, Any]]:
    """Compressors of about equal omega, or bits a message, in the order of their final risks."""
    known = sorted((value, i) for i in sound if (value := values[i]) and entries[i]["excess_risk_averaged"]["mean"])
    groups: list[list[tuple[float, int]]] = []
    for value, i in known:
        if groups and value <= NEAR * groups[-1][0][0]:
            groups[-1].append((value, i))
        else:
            groups.append([(value, i)])
    found = []
    for group in groups:
        members = sorted((i for _, i in group), key=lambda i: entries[i]["excess_risk_averaged"]["mean"])
        if len(members) > 1:
            least = entries[members[0]]["excess_risk_averaged"]["mean"]
            found.append(
                {
                    "value": float(np.mean([value for value, _ in group])),
                    "ranking": [
                        {
                            "name": names[i],
                            "ratio": entries[i]["excess_risk_averaged"]["mean"] / least,
                            "error": _ratio_error(entries[i], entries[members[0]]),
                        }
                        for i in members
                    ],
                }
            )
    return found


def _ratio_error(entry: Entry, least: Entry) -> float | None:
    """The standard error of the ratio of two means, as if they were independent: pairing makes it smaller."""
    parts = [e["excess_risk_averaged"] for e in (entry, least)]
    if entry is least or any(part["standard_error"] is None for part in parts):
        return None
    ours, theirs = (part["standard_error"] / part["mean"] for part in parts)
    return float(np.hypot(ours, theirs) * parts[0]["mean"] / parts[1]["mean"])
