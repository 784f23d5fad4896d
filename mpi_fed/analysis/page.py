"""Write the report: table, pictures, provenance and details in one HTML file that needs no other file."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..log import schema
from ..log.reader import Log
from . import cells, sentences, summary_table
from .document import Analysis, Entry
from .figures import BLOW_UP, MARKERS, PICTURES, THEORY, colour_of, marker_of
from .scorecard import FIGURES, scorecards
from .series import BAND_PERCENTILES, Curve, Pictures
from .summary import FLOOR

Picture = tuple[Path, str]
TEMPLATE, SCRIPT = Path(__file__).with_name("report.html"), Path(__file__).with_name("report.js")
GROUPS = ("Risk against theory", "Bias, variance, heterogeneity", "Bytes", "To the target")
"""Headings of the results' tables, one for each of summary_table.GROUPS."""
POINTS = 200
"""Largest number of points of a curve in the page."""
SYMBOLS = dict(
    zip(MARKERS, ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star"), strict=True)
)
"""Plotly's names of the pictures' markers."""
NOT_PROVENANCE = {
    attribute.name
    for attribute in (
        schema.FORMAT,
        schema.FORMAT_VERSION,
        schema.CONFIGURATION,
        schema.CONFIGURATION_ID,
        schema.POSITION,
        schema.LABEL,
        schema.STATUS,
    )
}
"""Root attributes of a log that are not part of its provenance."""


def write_report(
    folder: Path, logs: Sequence[Log], analysis: Analysis, shown: Pictures, pictures: Sequence[Picture]
) -> Path:
    """Write `report.html` and return its path.

    `pictures` are PNG files of the panels `shown`, with their captions. They appear in print and where scripts do not
    run; elsewhere an interactive chart replaces them.
    """
    from jinja2 import Environment
    from plotly.offline import get_plotlyjs

    entries, shared = analysis.configurations, _common([provenance(log) for log in logs])
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        studies=list(dict.fromkeys(entry.study["name"] for entry in entries)),
        target=analysis.target_excess_risk,
        name=summary_table.NAME,
        groups=[(title, [*columns]) for title, columns in zip(GROUPS, summary_table.GROUPS, strict=True)],
        entries=entries,
        invalid=sum(not entry.valid for entry in entries),
        cards=scorecards(logs, entries, analysis.decisions),
        figures=FIGURES,
        pictures=[(_embedded(path), caption) for path, caption in pictures],
        wide=len(shown.panels) > 1,
        panels=[panel.title for panel in shown.panels],
        curves=_curves(shown),
        plotly=get_plotlyjs() if shown.panels else "",
        script=SCRIPT.read_text(encoding="utf-8"),
        details=[_details(log, entry, shared) for log, entry in zip(logs, entries, strict=True)],
        shared=shared,
        number=cells.number,
        penalty=cells.penalty,
        decisions=_paragraphs(sentences.answer(analysis.heterogeneity) + sentences.decisions(analysis)),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _paragraphs(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the lines as pairs of a heading and the indented lines below it."""
    paragraphs: list[tuple[str, list[str]]] = []
    for line in filter(None, lines):
        if line.startswith(" "):
            paragraphs[-1][1].append(line.strip())
        else:
            paragraphs.append((line, []))
    return paragraphs


def _curves(shown: Pictures) -> str:
    """Return the data of the chart as JSON."""
    first = np.array([series.curve.mean[0] for panel in shown.panels for series in panel.series])
    starts = first[np.isfinite(first) & (first > FLOOR * first.max(initial=0))]  # a run may start at w*
    ceiling = BLOW_UP * float(np.median(starts)) if len(starts) and len(starts) == len(first) else np.inf
    names = []
    for i, name in enumerate(shown.names):  # plotly interprets names as markup
        plain = html.escape(name, quote=False)
        names.append({"name": plain, "colour": colour_of(i), "symbol": SYMBOLS[marker_of(i)]})
    panels = [
        {
            "title": panel.title,
            "series": [{"name": series.name_index, **_points(series.curve, ceiling)} for series in panel.series],
        }
        for panel in shown.panels
    ]
    shared = [{"kind": kind, "name": f"theory, {kind}"} for kind in THEORY if kind in _kinds(shown)]
    axes = {picture.x: re.sub(r"\$(.+?)\$", r"\1", picture.x_label) for picture in PICTURES}
    return inside_script({"names": names, "panels": panels, "axes": axes, "band": BAND_PERCENTILES, "theories": shared})


def _kinds(shown: Pictures) -> set[str | None]:
    """Return the kinds of the predictions in the chart."""
    curves = [series.curve for panel in shown.panels for series in panel.series]
    return {curve.kind for curve in curves if curve.theory is not None}


def inside_script(value: Any) -> str:
    """Return JSON that is safe inside a script element: it cannot contain "</script>", which would end the element."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _points(curve: Curve, ceiling: float) -> dict[str, Any]:
    """Return a curve of at most POINTS points, with five digits; values above the ceiling or not positive are None."""
    chosen = np.unique(np.linspace(0, len(curve.rounds) - 1, POINTS).round().astype(int))
    points: dict[str, Any] = {"kind": curve.kind, "limit": curve.limit_trace}
    for name in ("rounds", "bytes", "seconds", "mean", "low", "high", "theory"):
        values = getattr(curve, name)
        if values is not None:
            kept = values[chosen].tolist()
            points[name] = [float(f"{value:.5g}") if 0 < value <= _most(name, ceiling) else None for value in kept]
    return points


def _most(name: str, ceiling: float) -> float:
    return np.inf if name in ("rounds", "bytes", "seconds") else ceiling


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def provenance(log: Log) -> dict[str, str]:
    """Return the root attributes that are part of the log's provenance, as text."""
    return {name: _text(value) for name, value in log.attributes.items() if name not in NOT_PROVENANCE}


def _common(provenances: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return the items that all provenances have in common."""
    first, *others = provenances
    return {name: text for name, text in first.items() if all(other.get(name) == text for other in others)}


def _details(log: Log, entry: Entry, shared: dict[str, str]) -> dict[str, Any]:
    """Return the data of the page's section on one configuration."""
    return {
        "entry": entry,
        "status": log.status,
        "tables": log.configuration,
        "provenance": {name: text for name, text in provenance(log).items() if name not in shared},
        "phases": _phases(log),
    }


def _phases(log: Log) -> list[tuple[str, list[str]]]:
    """Return each phase's microseconds a round: min, mean and max over ranks, as means over repetitions."""
    seconds, names = log.dataset(schema.PHASE_SECONDS.name), log.dataset(schema.PHASE.name)
    if seconds is None or names is None or not log.complete.any():
        return []
    means = 1e6 * np.mean(seconds[log.complete], axis=0)
    return [
        (name.decode() if isinstance(name, bytes) else str(name), [cells.number(value) for value in row])
        for name, row in zip(names, means, strict=True)
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
