"""The report: table, pictures, provenance and details as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import table
from .read import Log

Picture = tuple[Path, str]
TEMPLATE = Path(__file__).with_name("report.html")
OWN = {"format", "format_version", "configuration", "configuration_id", "position", "label", "status"}
"""Root attributes that are no provenance."""


def write_report(
    folder: Path, logs: Sequence[Log], summary: dict[str, Any], pictures: Sequence[Picture], wide: bool
) -> Path:
    """Write `report.html` and return its path; `pictures` are PNG files with their captions.

    `wide` pictures stand below each other, others side by side.
    """
    from jinja2 import Environment

    entries, shared = summary["configurations"], _common([provenance(log) for log in logs])
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        studies=list(dict.fromkeys(entry["study"]["name"] for entry in entries)),
        target=summary["target_excess_risk"],
        columns=(table.NAME, *table.RATES, *table.SPREAD, *table.COSTS),
        entries=entries,
        invalid=sum(entry["verdict"] != "VALID" for entry in entries),
        pictures=[(_embedded(path), caption) for path, caption in pictures],
        wide=wide,
        details=[_details(log, entry, shared) for log, entry in zip(logs, entries, strict=True)],
        shared=shared,
        number=table.number,
        decisions=[line for line in table.decisions(summary) if line],
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def provenance(log: Log) -> dict[str, str]:
    """The root attributes that tell where the log comes from, as text."""
    return {name: _text(value) for name, value in log.attributes.items() if name not in OWN}


def _common(provenances: Sequence[dict[str, str]]) -> dict[str, str]:
    """What all of them share."""
    first, *others = provenances
    return {name: text for name, text in first.items() if all(other.get(name) == text for other in others)}


def _details(log: Log, entry: dict[str, Any], shared: dict[str, str]) -> dict[str, Any]:
    """What the page tells of one configuration alone."""
    return {
        "entry": entry,
        "status": log.status,
        "tables": log.configuration,
        "provenance": {name: text for name, text in provenance(log).items() if name not in shared},
        "phases": _phases(log),
    }


def _phases(log: Log) -> list[tuple[str, list[str]]]:
    """For each phase the microseconds a round, min, mean and max over ranks, mean over repetitions."""
    seconds, names = log.dataset("phase_seconds"), log.dataset("phase")
    if seconds is None or names is None or not log.complete.any():
        return []
    means = 1e6 * np.mean(seconds[log.complete], axis=0)
    return [
        (name.decode() if isinstance(name, bytes) else str(name), [table.number(value) for value in row])
        for name, row in zip(names, means, strict=True)
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
