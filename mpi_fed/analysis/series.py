"""What the pictures show: one panel a problem and algorithm, in it one series a compressor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..log.reader import Log
from .prediction import Forecast

Floats = NDArray[np.float64]

BAND = (10, 90)
"""Percentiles over repetitions that a curve's band spans."""
WITHIN = {"compressor", "downlink", "route", "log"}
"""Tables in which the series of one panel may differ; so may study.repetitions."""


class Curve(NamedTuple):
    """Averaged excess risk over P log points: mean, band over repetitions, and theory where there is one."""

    rounds: Floats
    bytes: Floats
    seconds: Floats
    mean: Floats
    low: Floats | None
    high: Floats | None
    theory: Floats | None
    kind: str | None
    limit_trace: float | None


class Series(NamedTuple):
    """One configuration: which compressor, as an index into all names, and its curve."""

    name: int
    curve: Curve


class Panel(NamedTuple):
    """The configurations that share all but the compressor; the title says in what panels differ."""

    title: str
    series: list[Series]


class Pictures(NamedTuple):
    """All panels, and the compressors' names."""

    names: list[str]
    panels: list[Panel]


def pictures(logs: Sequence[Log], forecasts: Sequence[Forecast]) -> Pictures:
    """The panels, in the order of the logs. Logs without a single point beyond round 0 are left out."""
    names = names_of(logs)
    distinct = list(dict.fromkeys(names))
    begun = [i for i, log in enumerate(logs) if log.reached.max(initial=0) > 1]
    panels = []
    for title, members in grouped([logs[i] for i in begun]):
        shown = [begun[j] for j in members]
        panels.append(Panel(title, [Series(distinct.index(names[i]), curve(logs[i], forecasts[i])) for i in shown]))
    return Pictures(distinct, panels)


def grouped(logs: Sequence[Log]) -> list[tuple[str, list[int]]]:
    """The logs that share all but compressors and route, as positions; the title says in what groups differ."""
    groups: dict[str, list[int]] = {}
    for i, log in enumerate(logs):
        groups.setdefault(json.dumps(shared_tables(log), sort_keys=True), []).append(i)
    return list(zip(titles([json.loads(key) for key in groups]), groups.values(), strict=True))


def curve(log: Log, forecast: Forecast) -> Curve:
    """The curve of the repetitions that reached the end or, where none did, of what all that began hold."""
    kept = log.complete if log.complete.any() else log.reached > 1
    points = slice(1, int(log.reached[kept].min()))  # round 0 has no place on a logarithmic axis
    risks = log.excess_risk_averaged[kept, points]
    low, high = np.percentile(risks, BAND, axis=0) if len(risks) > 1 else (None, None)
    theory = None if forecast.excess_risk_averaged is None else forecast.excess_risk_averaged[points]
    return Curve(
        rounds=log.round[points].astype(np.float64),
        bytes=log.uplink_transported_bytes[kept, points].mean(axis=0),
        seconds=log.wall_seconds[kept, points].mean(axis=0),
        mean=risks.mean(axis=0),
        low=low,
        high=high,
        theory=theory,
        kind=forecast.kind,
        limit_trace=forecast.limit_trace,
    )


def names_of(logs: Sequence[Log]) -> list[str]:
    """A name for each log's compressors; the route is part of it where they ran over several."""
    names = [messages_name(log.configuration) for log in logs]
    kinds = [log.configuration["route"]["kind"] for log in logs]
    routes: dict[str, set[str]] = {}
    for name, kind in zip(names, kinds, strict=True):
        routes.setdefault(name, set()).add(kind)
    return [f"{name}, {kind}" if len(routes[name]) > 1 else name for name, kind in zip(names, kinds, strict=True)]


def messages_name(tables: dict[str, dict[str, Any]]) -> str:
    """The compressor's name, and that of the downlink where there is one."""
    up = compressor_name(tables["compressor"])
    return f"{up} downlink={compressor_name(tables['downlink'])}" if "downlink" in tables else up


def compressor_name(table: dict[str, Any]) -> str:
    """`quantization levels=1`: the kind and the parameters that are no defaults; of an unknown kind all."""
    from ..compressors import compressors
    from ..study.labels import describe
    from ..study.validation import component

    try:
        return describe(component(compressors, table, "configuration: [compressor]"))
    except InputError:
        parameters = [f"{key}={short(value)}" for key, value in table.items() if key != "kind"]
        return " ".join([str(table.get("kind")), *parameters])


def short(value: Any) -> str:
    """A parameter's value in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def shared_tables(log: Log) -> dict[str, Any]:
    """The tables that the series of one panel share."""
    tables = {name: table for name, table in log.configuration.items() if name not in WITHIN}
    study = {key: value for key, value in tables["study"].items() if key != "repetitions"}
    return {**tables, "study": study}


def _flat(tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All keys in one; a table's kind under the table's name."""
    return {name if key == "kind" else key: value for name, table in tables.items() for key, value in table.items()}


def titles(tables: list[dict[str, dict[str, Any]]]) -> list[str]:
    """For each group, given by its tables, the keys in which the groups differ."""
    groups = [_flat(group) for group in tables]
    keys = list(dict.fromkeys(key for group in groups for key in group))
    varying = [key for key in keys if any(group.get(key) != groups[0].get(key) for group in groups)]
    return [", ".join(f"{key} = {short(group[key])}" for key in varying if key in group) for group in groups]
