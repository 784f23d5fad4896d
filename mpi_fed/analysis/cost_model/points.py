"""Results of a bench as points to fit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...benchmark import VALID
from ...benchmark.document import Number, PhaseTimes, Result
from ...benchmark.load import MOST, load_bench
from ...errors import InputError
from ...routes import routes
from .recipe import Recipe, recipe_of
from .units import parse_rate

PHASES = ("gradient", "encode", "uplink", "decode", "update", "downlink")
DOWN = ("downlink_encode", "downlink_decode")
"""Of a direction that comes back compressed; files from before it could do not have them."""


@dataclass(frozen=True)
class Point:
    """One result: what was timed, over which links, and the seconds that it took."""

    file: str
    link: float | None
    """Bits a second of each host's link, one rank a host; infinite where nothing limits it, None in shared memory."""
    burst: float
    """Bytes that such a link lets through at once after a rest, as one of a virtual cluster does."""
    route: str
    recipe: Recipe
    dimension: int
    ranks: int
    bits: int | None
    """Of a float of the iterate on its way back; None where it does not travel."""
    messages: float
    """Of a round."""
    payload: float
    """Bytes of a message."""
    seconds: dict[str, float]
    """Of each phase and of the whole round, the median."""
    down: Recipe | None = None
    """What compresses the step's direction on its way back, where something does."""

    @property
    def may_be_absent(self) -> bool:
        """Not everybody sends in every round, so that two ranks' medians are no round's."""
        return self.recipe.at(self.dimension).may_be_absent


def points(words: Sequence[str]) -> tuple[list[Point], list[dict[str, Any]]]:
    """The points of files, each FILE or FILE@RATE, and what the files say of their machines.

    A file from a virtual cluster says how fast the links were, others from several hosts do not.

    Raises InputError where a file is none of a bench, or says nothing that can be fitted.
    """
    measured, machines = [], []
    for word in words:
        file, link = _place(word)
        bench = load_bench(file)
        link, burst = _cables(bench.machine, link, file)
        hosts = bench.machine.get("hosts", [])
        if not isinstance(hosts, list):
            raise InputError(f"{file}: its machine has no such hosts as a bench writes")
        if link is None and len(hosts) > 1:
            raise InputError(f"{file} was measured on several hosts: say how fast their links were, as {file}@1gbit")
        if link is not None and any(result.ranks != len(hosts) for result in bench.results):
            raise InputError(f"{file}: behind links the model has one rank a host; measure with as many ranks as hosts")
        machines.append({"file": file, "link": link_in_json(link), **bench.machine})
        for number, result in enumerate(bench.results, start=1):
            if result.verdict == VALID:
                measured.append(_point(result, file, link, burst, f"{file}: result {number}"))
    if not measured:
        raise InputError(f"{' and '.join(words)}: no VALID result; run `mpi-fed bench --out FILE` again")
    return measured, machines


def link_in_json(link: float | None) -> float | Literal["unlimited"] | None:
    """The rate of a link in JSON, which has no infinity."""
    return "unlimited" if link == math.inf else link


def _place(word: str) -> tuple[str, float | None]:
    file, _, text = word.rpartition("@")
    if not file or not re.fullmatch(r"[0-9].*[a-z]", text):
        return word, None
    return file, parse_rate(text, word)


def _cables(machine: dict[str, Any], link: float | None, file: str) -> tuple[float | None, float]:
    """Rate and burst of the cables of a virtual cluster; else the rate of `link`, and no burst."""
    cables = machine.get("cables")
    if not cables:
        return link, 0.0
    if not isinstance(cables, list) or not all(map(_is_cable, cables)):
        raise InputError(f"{file}: its machine has no such cables as a bench writes")
    rates = {cable[way] for cable in cables for way in ("up", "down")}
    if len(rates) > 1:
        raise InputError(f"{file}: cables of several rates cannot be fitted; give virtual_cluster --rate alone")
    rate = rates.pop()
    return (math.inf, 0.0) if rate is None else (float(rate), float(cables[0]["burst"]))


def _is_cable(cable: Any) -> bool:
    if not isinstance(cable, dict):
        return False
    up, down, burst = (cable.get(key) for key in ("up", "down", "burst"))
    limited = up is not None or down is not None
    whole = (burst is not None) == limited and (burst is None or _is_number(burst))
    return whole and all(rate is None or (_is_number(rate) and rate > 0) for rate in (up, down))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST


def _point(result: Result, file: str, link: float | None, burst: float, place: str) -> Point:
    for key, value in (("messages", result.messages), ("payload_bytes", result.payload_bytes)):
        if not _is_number(value) or value == 0:
            raise InputError(f"{place} has no such {key} as a bench writes")
    phases, back = result.phases or {}, result.downlink
    if not all(_is_phase(phases.get(name)) for name in (PHASES if back is None else (*PHASES, *DOWN))):
        raise InputError(f"{place} has no such phases as a bench writes")
    if result.route not in routes:
        raise InputError(f"{place}: route {result.route} is not known here (one of your own needs --plugin)")
    route, d = routes[result.route], result.dimension
    assert result.messages is not None
    assert result.payload_bytes is not None
    assert result.microseconds is not None
    return Point(
        file=file,
        link=link,
        burst=burst,
        route=result.route,
        recipe=recipe_of(result.compressor, d, f"{place}:", route.kind if route.joint_messages else None),
        dimension=d,
        ranks=result.ranks,
        bits=None if route.reaches_all_ranks or back is not None else int(result.downlink_bits or 64),
        messages=float(result.messages),
        payload=float(result.payload_bytes),
        seconds=_seconds(phases, result.microseconds.median, route.reaches_all_ranks),
        down=None if back is None else recipe_of(back, d, f"{place}: downlink"),
    )


def _is_phase(phase: PhaseTimes | None) -> bool:
    return phase is not None and _is_number(phase.min) and _is_number(phase.max)


def _seconds(phases: dict[str, PhaseTimes], whole: Number, everywhere: bool) -> dict[str, float]:
    """Each phase on the rank on which it takes longest; but on the way back those wait for the root's work.

    So the downlink is what of the round the other phases leave, and at least what the root takes for it.
    """
    times = {name: phases[name].max if name in phases else 0.0 for name in (*PHASES, *DOWN)}
    others = sum(value for name, value in times.items() if name != "downlink")
    times["downlink"] = 0.0 if everywhere else max(whole - others, phases["downlink"].min)
    return {"round": 1e-6 * whole} | {name: 1e-6 * value for name, value in times.items()}
