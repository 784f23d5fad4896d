"""The states of configurations, as lines of text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from ..text import plain
from .status import STATES, Row


def as_json(rows: list[Row]) -> str:
    """Return a JSON list with one object for each configuration."""
    return json.dumps([asdict(row) for row in rows], indent=1)


def lines(rows: list[Row]) -> Iterator[str]:
    """Yield a line for each study, followed by a line for each of its configurations."""
    width = max(len(row.label) for row in rows)
    study = None
    for row in rows:
        if row.study != study:
            study = row.study
            counts = Counter(other.state for other in rows if other.study == study)
            yield f"{plain(study)}: {', '.join(f'{counts[state]} {state}' for state in STATES if counts[state])}"
        yield f"  {row.state:12}{plain(row.label).ljust(width)}  {_details(row)}".rstrip()


def _details(row: Row) -> str:
    parts = [f"{row.repetitions_done} of {row.repetitions} repetitions"]
    parts += [f"{row.rounds_done:,} of {row.rounds:,} rounds"]
    parts += [f"job {row.job}"] if row.job else []
    parts += [f"exit status {row.exit_status} on {plain(row.host or '')}"] if row.exit_status is not None else []
    return ", ".join(parts + ([row.note] if row.note else []))
