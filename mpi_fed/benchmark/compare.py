"""`mpi-fed compare`: what is slower or faster in one bench result than in another, and how sure that is."""

from __future__ import annotations

import json as json_text
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

CONFIDENCE = 0.95
"""With which all intervals of a comparison hold together."""
FASTER, SLOWER, NEITHER = "faster", "slower", "no difference shown"
MOST = 10**15
LIMITS = {"dimension": (1, 10**8), "ranks": (1, 10**9), "repetitions": (0, MOST)}
"""The least and the most that a file may say, MOST of all other numbers: beyond it is a slip."""
SINGLE = "within a launch"
SEVERAL = "between launches"

Result = dict[str, Any]
Key = tuple[str, str, int, int, int, str]


def compare(first: str, second: str, threshold: float = 1.1, json: bool = False) -> int:
    """Compare two files of `mpi-fed bench --out`; 1 where something is slower in the second, else 0.

    Slower: the interval of the ratio of medians, second over first, lies above 1, and the ratio reaches `threshold`.
    Raises InputError where a file is none, or where the two have no result in common."""
    documents = [load(first), load(second)]
    told = comparison(documents[0], documents[1], threshold)
    if not told["lines"] and not told["invalid"]:
        common = "no route, compressor, dimension, ranks and downlink"
        raise InputError(f"{first} and {second} have no result in common: {common}")
    print(json_text.dumps(told, indent=2, allow_nan=False)) if json else _print_table(told)
    return 1 if told[SLOWER] else 0


def comparison(first: dict[str, Any], second: dict[str, Any], threshold: float) -> dict[str, Any]:
    """The two documents held against each other, ready for JSON."""
    before, after = ({_key(result): result for result in one["results"]} for one in (first, second))
    common = [key for key in before if key in after]
    sound = [key for key in common if all(side[key]["verdict"] == "VALID" for side in (before, after))]
    lines = [_line(before[key], after[key], (1 - CONFIDENCE) / len(sound), threshold) for key in sound]
    machines = [_flat(one["machine"]) for one in (first, second)]
    names = sorted(set(machines[0]) | set(machines[1]))
    return {
        "confidence": CONFIDENCE,
        "comparisons": len(lines),
        "threshold": threshold,
        "machine_differs": {
            name: [one.get(name) for one in machines]
            for name in names
            if machines[0].get(name) != machines[1].get(name)
        },
        "lines": lines,
        "only_in_first": [_name(before[key]) for key in before if key not in after],
        "only_in_second": [_name(after[key]) for key in after if key not in before],
        "invalid": [_name(before[key]) for key in common if key not in sound],
        SLOWER: sum(line["verdict"] == SLOWER for line in lines),
        FASTER: sum(line["verdict"] == FASTER for line in lines),
    }


def _flat(machine: dict[str, Any]) -> dict[str, Any]:
    """What a table in it holds, each entry by itself."""
    found: dict[str, Any] = {}
    for name, value in machine.items():
        found |= {f"{name} {key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
    return found


def _line(before: Result, after: Result, error: float, threshold: float) -> dict[str, Any]:
    """One result, twice: the ratio of its medians and an interval that misses it with probability `error`."""
    launches = before["launch_medians"], after["launch_medians"]
    several = min(map(len, launches)) > 1
    ratio, low, high = between_launches(*launches, error) if several else within(before, after, error)
    verdict = NEITHER
    if low is not None and low > 1 and ratio >= threshold:
        verdict = SLOWER
    if high is not None and high < 1 and ratio <= 1 / threshold:
        verdict = FASTER
    return {
        **{name: before[name] for name in ("route", "compressor", "dimension", "ranks")},
        **{name: before.get(name) for name in ("downlink_bits", "downlink")},
        "label": _label(before),
        "microseconds": [one["microseconds"]["median"] for one in (before, after)],
        "launches": [len(own) for own in launches],
        "ratio": ratio,
        "low": low,
        "high": high,
        "uncertainty": SEVERAL if several else SINGLE,
        "verdict": verdict,
    }


def between_launches(
    before: Sequence[float], after: Sequence[float], error: float
) -> tuple[float, float | None, float | None]:
    """The ratio of the geometric means of launches' medians, with Welch's interval for the logarithm's difference."""
    from scipy import stats

    logs = [np.log(one) for one in (before, after)]
    difference = float(logs[1].mean() - logs[0].mean())
    parts = [float(one.var(ddof=1)) / len(one) for one in logs]
    half = 0.0
    if sum(parts) > 0:
        freedom = sum(parts) ** 2 / sum(part**2 / (len(one) - 1) for part, one in zip(parts, logs, strict=True))
        half = float(stats.t.isf(error / 2, freedom)) * math.sqrt(sum(parts))
    return math.exp(difference), _finite(difference - half), _finite(difference + half)


def _finite(logarithm: float) -> float | None:
    """e to this power; None where floats do not hold it."""
    return math.exp(logarithm) if abs(logarithm) < 700 else None


def within(before: Result, after: Result, error: float) -> tuple[float, float | None, float | None]:
    """The ratio of medians, with an interval from the order statistics that enclose each, whatever the law."""
    (low, high), (its_low, its_high) = (_enclosing(one, error / 2) for one in (before, after))
    ratio = after["microseconds"]["median"] / before["microseconds"]["median"]
    return (
        ratio,
        None if its_low is None or high is None else its_low / high,
        None if its_high is None or low is None else its_high / low,
    )


def _enclosing(result: Result, error: float) -> tuple[float | None, float | None]:
    """Two samples between which the law's median lies but with probability `error`; None where there are too few."""
    from scipy import stats

    count, quantiles = result["repetitions"], result["quantiles"]
    rank = int(stats.binom.ppf(error / 2, count, 0.5))  # fewer than this lie below the median: at most error / 2
    if rank < 1:
        return None, None
    return quantiles[100 * rank // count], quantiles[-(-100 * (count + 1 - rank) // count)]


def load(file: str) -> dict[str, Any]:
    """What a file of `mpi-fed bench --out` holds. Raises InputError where it is none."""
    try:
        found = json_text.loads(Path(file).read_text(), parse_constant=_refused, parse_float=_finite_float)
    except OSError as error:
        raise InputError(f"{file}: cannot read the file ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: no bench result: it is not JSON; `mpi-fed bench --out FILE` writes one") from None
    for wrong in _wrong(found):
        raise InputError(f"{file}: no bench result: {wrong}; `mpi-fed bench --out FILE` writes one")
    return found


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite_float(text: str) -> float:
    """Raises ValueError where floats do not hold it."""
    number = float(text)
    return number if math.isfinite(number) else _refused(text)


def _wrong(found: Any) -> Iterator[str]:
    """What makes it none."""
    if not isinstance(found, dict):
        yield "it is no JSON object"
        return
    for name, kind in (("machine", dict), ("results", list)):
        if not isinstance(found.get(name), kind):
            yield f"it lacks the key {name}" if name not in found else f"its {name} is none"
            return
    seen = set()
    for number, result in enumerate(found["results"], start=1):
        yield from (f"result {number} {text}" for text in _wrong_result(result))
        key = _key(result)
        if key in seen:
            yield f"result {number} is there twice"
        seen.add(key)


def _wrong_result(result: Any) -> Iterator[str]:
    if not isinstance(result, dict):
        yield "is no JSON object"
        return
    kinds = {"route": str, "compressor": dict, "dimension": int, "ranks": int, "repetitions": int, "verdict": str}
    for key, kind in kinds.items():
        if key not in result:
            yield f"lacks the key {key}"
        elif not isinstance(result[key], kind) or isinstance(result[key], bool) or not _within_limits(key, result[key]):
            yield f"has no such {key} as a bench writes"
    if not isinstance(result.get("downlink"), dict | None):
        yield "has no such downlink as a bench writes"
    if result.get("downlink_bits") not in (None, 64, 32, 16):
        yield "has no such downlink_bits as a bench writes"
    if result.get("verdict") != "VALID":
        return
    for key in ("microseconds", "launch_medians", "quantiles"):
        if key not in result:
            yield f"lacks the key {key}"
    if result.get("repetitions", 1) < 1:
        yield "has no such repetitions as a bench writes"
    median = result["microseconds"].get("median") if isinstance(result.get("microseconds"), dict) else None
    if not _are_times([median]):
        yield "has no such microseconds as a bench writes"
    for key, count in (("launch_medians", None), ("quantiles", 101)):
        times = result.get(key)
        if not isinstance(times, list) or not _are_times(times) or len(times) != (count or len(times) or -1):
            yield f"has no such {key} as a bench writes"


def _within_limits(key: str, value: Any) -> bool:
    low, high = LIMITS.get(key, (None, None))
    return low is None or low <= value <= high


def _are_times(values: list[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < MOST for v in values)


def _key(result: Result) -> Key:
    up, down = (json_text.dumps(result.get(way), sort_keys=True) for way in ("compressor", "downlink"))
    bits = result.get("downlink_bits") or 64  # where w does not come back, too, and in files that do not say
    return result["route"], up, result["dimension"], result["ranks"], bits, down


def _label(result: Result) -> str:
    """As the bench has it, or else the kind."""
    return str(result.get("label") or result["compressor"].get("kind", "?"))


def _name(result: Result) -> str:
    from .table import way

    ranks = result["ranks"]
    return f"{_label(result)} on {way(result)}, d = {result['dimension']:,}, {ranks} rank{'s' * (ranks != 1)}"


def _print_table(told: dict[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    from .table import console, number, way

    out = console()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("d", "ranks"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("compressor", "route"):
        table.add_column(heading, overflow="fold")
    for heading in ("A, us\nmedian", "B, us\nmedian", "B over A", "interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in told["lines"]:
        ends = ("-" if line[end] is None else number(line[end]) for end in ("low", "high"))
        cells = (f"{line['dimension']:,}", str(line["ranks"]), line["label"], way(line))
        times = (*map(number, line["microseconds"]), number(line["ratio"]), " to ".join(ends))
        table.add_row(*cells, *times, line["verdict"])
    out.print(table)
    for text in _remarks(told):
        out.print(text, soft_wrap=True)


def _remarks(told: dict[str, Any]) -> Iterator[str]:
    """How sure it is, what was left out, and the outcome as the last line."""
    for name, (one, other) in told["machine_differs"].items():
        yield f"machine differs, {name}: {json_text.dumps(one)} in A, {json_text.dumps(other)} in B"
    for key, text in (("only_in_first", "only in A"), ("only_in_second", "only in B"), ("invalid", "INVALID")):
        for name in told[key]:
            yield f"{text}, not compared: {name}"
    single = sum(line["uncertainty"] == SINGLE for line in told["lines"])
    if single:
        yield (
            f"{single} of {len(told['lines'])} from a single launch: its interval is of the rounds of that launch, and "
            "how much launches differ is unknown; give `mpi-fed bench --launches 5`"
        )
    count = told["comparisons"]
    yield (
        f"All {count} intervals hold together with {100 * told['confidence']:.0f}% (each with "
        f"{100 * (1 - (1 - told['confidence']) / max(1, count)):.3g}%). Slower or faster: the interval leaves out 1, "
        f"and the ratio is {told['threshold']:g} or more, or its inverse or less."
    )
    yield f"{told[SLOWER]} slower, {told[FASTER]} faster, {count - told[SLOWER] - told[FASTER]} {NEITHER}"
