"""Read the results of `mpi-fed bench` as points for the fit."""

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
"""The phases that every result must have."""
DOWN = ("downlink_encode", "downlink_decode")
"""The phases of a compressed downlink, which files of older versions lack."""


@dataclass(frozen=True)
class Point:
    """One result of a bench: the scheme, the links, and the seconds of a round."""

    file: str
    link: float | None
    """Bits a second of each host's link, one rank a host; infinite if unlimited, None in shared memory."""
    burst: float
    """Bytes that a link transmits at once after a pause, as on a virtual cluster."""
    route: str
    recipe: Recipe
    dimension: int
    ranks: int
    bits: int | None
    """Bits of a float of the iterate on the downlink; None if the iterate is not sent."""
    messages: float
    """Messages of a round."""
    payload: float
    """Bytes of a message."""
    seconds: dict[str, float]
    """Median seconds of each phase, and of the whole round."""
    down: Recipe | None = None
    """The compressor of the step's direction on the downlink, if there is one."""

    @property
    def may_be_absent(self) -> bool:
        """True if clients may not send in a round, so that the ranks' medians do not belong to one round."""
        return self.recipe.at(self.dimension).may_be_absent


def points(words: Sequence[str]) -> tuple[list[Point], list[dict[str, Any]]]:
    """Return the points of files, each given as FILE or FILE@RATE, and the files' facts about their machines.

    A file from a virtual cluster has the rate of the links; other files from several hosts do not.

    Raises InputError if a file is not a bench result, or has nothing to fit.
    """
    measured, machines = [], []
    for word in words:
        file, link = _place(word)
        bench = load_bench(file)
        link, burst = _cables(bench.machine, link, file)
        hosts = bench.machine.get("hosts", [])
        if not isinstance(hosts, list):
            raise InputError(_no_bench_writes(f"{file}: its machine", "hosts"))
        if link is None and len(hosts) > 1:
            raise InputError(f"{file} was measured on several hosts; give the rate of their links, as in {file}@1gbit")
        if link is not None and any(result.ranks != len(hosts) for result in bench.results):
            raise InputError(f"{file}: over links, the model needs one rank a host; measure with a rank on each host")
        machines.append({"file": file, "link": link_in_json(link), **bench.machine})
        for number, result in enumerate(bench.results, start=1):
            if result.verdict == VALID:
                measured.append(_point(result, file, link, burst, f"{file}: result {number}"))
    if not measured:
        raise InputError(f"{' and '.join(words)}: no VALID result; run `mpi-fed bench --out FILE` again")
    return measured, machines


def link_in_json(link: float | None) -> float | Literal["unlimited"] | None:
    """Return the rate of a link for JSON, which has no infinity."""
    return "unlimited" if link == math.inf else link


def _no_bench_writes(place: str, key: str) -> str:
    return f"{place} has a value of the key {key} that no bench writes; run `mpi-fed bench --out FILE` again"


def _place(word: str) -> tuple[str, float | None]:
    file, _, text = word.rpartition("@")
    if not file or not re.fullmatch(r"[0-9].*[a-z]", text):
        return word, None
    return file, parse_rate(text, word)


def _cables(machine: dict[str, Any], link: float | None, file: str) -> tuple[float | None, float]:
    """Return rate and burst of the links of a virtual cluster; on other machines, `link` and 0."""
    cables = machine.get("cables")
    if not cables:
        return link, 0.0
    if not isinstance(cables, list) or not all(map(_is_cable, cables)):
        raise InputError(_no_bench_writes(f"{file}: its machine", "cables"))
    rates = {cable[way] for cable in cables for way in ("up", "down")}
    if len(rates) > 1:
        raise InputError(f"{file}: links of several rates cannot be fitted; give virtual_cluster only --rate")
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
            raise InputError(_no_bench_writes(place, key))
    phases, back = result.phases or {}, result.downlink
    if not all(_is_phase(phases.get(name)) for name in (PHASES if back is None else (*PHASES, *DOWN))):
        raise InputError(_no_bench_writes(place, "phases"))
    if result.route not in routes:
        raise InputError(f"{place}: unknown route {result.route}; give --plugin for a route of your own")
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
    """Return the seconds of the round, and of each phase on the rank where this phase takes longest.

    During the downlink, other ranks also wait for the root. So the seconds of the downlink are the rest of the round
    after the other phases, and at least the seconds of the root's downlink.
    """
    times = {name: phases[name].max if name in phases else 0.0 for name in (*PHASES, *DOWN)}
    others = sum(value for name, value in times.items() if name != "downlink")
    times["downlink"] = 0.0 if everywhere else max(whole - others, phases["downlink"].min)
    return {"round": 1e-6 * whole} | {name: 1e-6 * value for name, value in times.items()}
