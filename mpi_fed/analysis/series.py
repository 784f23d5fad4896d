"""The curves of the pictures: one panel for each problem and algorithm, with one series for each compressor."""

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

BAND_PERCENTILES = (10, 90)
"""Percentiles, over repetitions, of the lower and upper edge of a curve's band."""
_TABLES_OF_SERIES = {"compressor", "downlink", "route", "log"}
"""Tables in which the series of one panel may differ; the series may also differ in study.repetitions."""


class Curve(NamedTuple):
    """Averaged excess risk at P log points: mean, band over repetitions and prediction, each of shape (P)."""

    rounds: Floats
    bytes: Floats
    seconds: Floats
    mean: Floats
    low: Floats | None
    high: Floats | None
    theory: Floats | None
    """The predicted risk; None without a prediction."""
    kind: str | None
    """Kind of the prediction: exact | approximate | None."""
    limit_trace: float | None


class Series(NamedTuple):
    """The curve of one configuration, and the index of its compressor among all names."""

    name_index: int
    curve: Curve


class Panel(NamedTuple):
    """Configurations that differ only in the compressors and the route.

    The title has the keys, with values, in which the configurations of this panel differ from those of other panels.
    """

    title: str
    series: list[Series]


class Pictures(NamedTuple):
    """The names of the compressors, and all panels."""

    names: list[str]
    panels: list[Panel]


def pictures(logs: Sequence[Log], forecasts: Sequence[Forecast]) -> Pictures:
    """Return the panels, in the order of the logs. Logs that have only reached round 0 are left out."""
    names = names_of(logs)
    distinct = list(dict.fromkeys(names))
    begun = [i for i, log in enumerate(logs) if log.reached.max(initial=0) > 1]
    panels = []
    for title, members in grouped([logs[i] for i in begun]):
        shown = [begun[j] for j in members]
        panels.append(Panel(title, [Series(distinct.index(names[i]), curve(logs[i], forecasts[i])) for i in shown]))
    return Pictures(distinct, panels)


def grouped(logs: Sequence[Log]) -> list[tuple[str, list[int]]]:
    """Group the logs that differ only in compressors and route; return each group's title and positions in `logs`."""
    groups: dict[str, list[int]] = {}
    for i, log in enumerate(logs):
        groups.setdefault(json.dumps(shared_tables(log), sort_keys=True), []).append(i)
    return list(zip(titles([json.loads(key) for key in groups]), groups.values(), strict=True))


def curve(log: Log, forecast: Forecast) -> Curve:
    """Return the curve of the complete repetitions.

    If no repetition is complete, the curve covers the log points that all repetitions past round 0 have reached.
    """
    kept = log.complete if log.complete.any() else log.reached > 1
    points = slice(1, int(log.reached[kept].min()))  # a logarithmic axis cannot show round 0
    risks = log.excess_risk_averaged[kept, points]
    low, high = np.percentile(risks, BAND_PERCENTILES, axis=0) if len(risks) > 1 else (None, None)
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
    """Return a name for each log's compressors, with the route if logs with the same compressors differ in it."""
    names = [compressors_name(log.configuration) for log in logs]
    kinds = [log.configuration["route"]["kind"] for log in logs]
    routes: dict[str, set[str]] = {}
    for name, kind in zip(names, kinds, strict=True):
        routes.setdefault(name, set()).add(kind)
    return [f"{name}, {kind}" if len(routes[name]) > 1 else name for name, kind in zip(names, kinds, strict=True)]


def compressors_name(tables: dict[str, dict[str, Any]]) -> str:
    """Return the name of the compressor, followed by the name of the downlink's compressor if there is one."""
    up = compressor_name(tables["compressor"])
    return f"{up} downlink={compressor_name(tables['downlink'])}" if "downlink" in tables else up


def compressor_name(table: dict[str, Any]) -> str:
    """Return the kind and the parameters that differ from their defaults, as in `quantization levels=1`.

    If the kind is unknown, the name has all parameters.
    """
    from ..compressors import compressors
    from ..study.labels import describe
    from ..study.validation import component

    try:
        return describe(component(compressors, table, "configuration: [compressor]"))
    except InputError:
        parameters = [f"{key}={short(value)}" for key, value in table.items() if key != "kind"]
        return " ".join([str(table.get("kind")), *parameters])


def short(value: Any) -> str:
    """Return a parameter's value in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def shared_tables(log: Log) -> dict[str, Any]:
    """Return the tables that the series of one panel have in common."""
    tables = {name: table for name, table in log.configuration.items() if name not in _TABLES_OF_SERIES}
    study = {key: value for key, value in tables["study"].items() if key != "repetitions"}
    return {**tables, "study": study}


def _flat(tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the keys of all tables in one dictionary, with each table's kind under the table's name."""
    return {name if key == "kind" else key: value for name, table in tables.items() for key, value in table.items()}


def titles(tables: list[dict[str, dict[str, Any]]]) -> list[str]:
    """Return a title for each group: the keys, with values, in which the groups' tables differ."""
    groups = [_flat(group) for group in tables]
    keys = list(dict.fromkeys(key for group in groups for key in group))
    varying = [key for key in keys if any(group.get(key) != groups[0].get(key) for group in groups)]
    return [", ".join(f"{key} = {short(group[key])}" for key in varying if key in group) for group in groups]
