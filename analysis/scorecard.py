"""The four figures that decide, per problem: communication saved, rounds needed, final error, heterogeneity borne."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from . import table
from .read import Log
from .series import grouped, names_of
from .summary import Entry

Value = Callable[[Entry], float | None]


class Figure(NamedTuple):
    """A column: its heading, its unit or meaning, the number, its text, and whether the larger is the better."""

    heading: str
    meaning: str
    value: Value
    text: Callable[[Entry], str]
    larger: bool = False


class Cell(NamedTuple):
    """What a scorecard shows of one figure: its text, how near the best it is (1 is the best), and whether it is."""

    text: str
    share: float | None
    best: bool


class Row(NamedTuple):
    """One compressor."""

    name: str
    recommended: bool
    verdict: str
    cells: list[Cell]


class Card(NamedTuple):
    """One problem and algorithm, as far as it differs from the others."""

    title: str
    rows: list[Row]


FIGURES = (
    Figure(
        "communication saved",
        "float32 bytes over bytes carried, up",
        lambda entry: entry["reduction_factor"]["float32"]["transported"],
        lambda entry: f"{table.number(entry['reduction_factor']['float32']['transported'])} times",
        larger=True,
    ),
    Figure(
        "rounds needed",
        "to the target risk",
        lambda entry: entry["rounds_to_target"],
        lambda entry: table.rounds(entry) if entry["rounds_to_target"] is not None else "not reached",
    ),
    Figure(
        "final error",
        "mean excess risk ± standard error",
        lambda entry: entry["excess_risk_averaged"]["mean"],
        table.risk,
    ),
    Figure(
        "robustness",
        "risk over that of alike clients",
        lambda entry: None if entry["heterogeneity_penalty"] == 1 else entry["heterogeneity_penalty"],
        lambda entry: "alike here" if entry["heterogeneity_penalty"] == 1 else table.penalty(entry),
    ),
)


def scorecards(logs: Sequence[Log], entries: Sequence[Entry], decisions: Sequence[dict[str, Any]]) -> list[Card]:
    """One card for each group of configurations that differ in the compressor and the route alone."""
    taken = {decision["problem"]: decision["recommended"] for decision in decisions}
    names, cards = names_of(logs), []
    for title, members in grouped(logs):
        columns = [_column(figure, [entries[i] for i in members]) for figure in FIGURES]
        rows = [
            Row(
                names[i],
                names[i] == taken.get(title),
                entries[i]["verdict"],
                [column[row] for column in columns],
            )
            for row, i in enumerate(members)
        ]
        cards.append(Card(title, rows))
    return cards


def _column(figure: Figure, entries: Sequence[Entry]) -> list[Cell]:
    """The figure of every configuration beside the best of the VALID ones."""
    values = [figure.value(entry) for entry in entries]
    pairs = zip(values, entries, strict=True)
    sound = [value for value, entry in pairs if value and entry["verdict"] == "VALID"]
    best = (max if figure.larger else min)(sound, default=None)
    cells = []
    for value, entry in zip(values, entries, strict=True):
        share = None
        if best and value:
            share = min(1.0, value / best if figure.larger else best / value)
        unlike = any(other != best for other in values)
        cells.append(Cell(figure.text(entry), share, value is not None and value == best and unlike))
    return cells
