"""The scorecard of each problem: four numbers for each compressor.

The numbers are the communication saved, the rounds needed, the final error, and the penalty of heterogeneity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..log.reader import Log
from . import cells
from .document import Decision, Entry, Interval
from .series import grouped, names_of

Value = Callable[[Entry], float | None]


class Figure(NamedTuple):
    """A column of the scorecard.

    `value`, `text` and `error` return an entry's number, its text and its standard error; `larger` is True if larger
    numbers are better.
    """

    heading: str
    meaning: str
    value: Value
    text: Callable[[Entry], str]
    error: Value = lambda entry: 0.0
    larger: bool = False


class Cell(NamedTuple):
    """A cell of the scorecard.

    `share` compares the number with the best of the column, which has share 1; `best` is True if the number is the best
    or within two standard errors of it.
    """

    text: str
    share: float | None
    best: bool


class Row(NamedTuple):
    """The row of one compressor."""

    name: str
    recommended: bool
    verdict: str
    cells: list[Cell]


class Card(NamedTuple):
    """The scorecard of one problem and algorithm; the title has the keys in which they differ from the other cards."""

    title: str
    rows: list[Row]


def _half_width(value: float | None, interval: Interval | None) -> float:
    """Return about one standard error: half the distance from the value to the interval's lower, finite end."""
    return (value - interval.low) / 2 if value and interval and interval.low else 0.0


FIGURES = (
    Figure(
        "communication saved",
        "float32 bytes over transported bytes, uplink",
        lambda entry: entry.reduction_factor.float32.transported,
        lambda entry: f"{cells.number(entry.reduction_factor.float32.transported)} times",
        larger=True,
    ),
    Figure(
        "rounds needed",
        "to the target risk (95% interval)",
        lambda entry: entry.rounds_to_target,
        cells.rounds,
        lambda entry: _half_width(entry.rounds_to_target, entry.rounds_to_target_interval),
    ),
    Figure(
        "final error",
        "mean excess risk ± standard error",
        lambda entry: entry.excess_risk_averaged.mean,
        cells.risk,
        lambda entry: entry.excess_risk_averaged.standard_error,
    ),
    Figure(
        "robustness",
        "risk over that with alike clients",
        lambda entry: entry.heterogeneity_penalty,
        lambda entry: "reference: clients alike" if entry.heterogeneity_reference else cells.penalty(entry),
        lambda entry: entry.heterogeneity_penalty_error,
    ),
)


def scorecards(logs: Sequence[Log], entries: Sequence[Entry], decisions: Sequence[Decision]) -> list[Card]:
    """Return a card for each group of configurations that differ only in the compressors and the route."""
    taken = {decision.recommended_file for decision in decisions if not decision.doubts}
    names, cards = names_of(logs), []
    for title, members in grouped(logs):
        columns = [_cells(figure, [entries[i] for i in members]) for figure in FIGURES]
        rows = [
            Row(
                names[i],
                entries[i].file in taken,
                entries[i].verdict,
                [column[row] for column in columns],
            )
            for row, i in enumerate(members)
        ]
        cards.append(Card(title, rows))
    return cards


def _cells(figure: Figure, entries: Sequence[Entry]) -> list[Cell]:
    """Return the cells of a column; VALID configurations are compared with the best of them."""
    values = [figure.value(entry) if entry.valid else None for entry in entries]
    known = [(value, i) for i, value in enumerate(values) if value is not None]
    column = [Cell(figure.text(entry), None, False) for entry in entries]
    if not known:
        return column
    best, at = (max if figure.larger else min)(known)
    errors = [figure.error(entry) or 0.0 for entry in entries]
    near = [i for value, i in known if abs(value - best) <= 2 * math.hypot(errors[i], errors[at])]
    for value, i in known:
        low, high = (value, best) if figure.larger else (best, value)
        share = 1.0 if low == high else low / high
        column[i] = column[i]._replace(share=share, best=i in near and len(near) < len(known))
    return column
