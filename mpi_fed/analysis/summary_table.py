"""Print the document of an analysis as a table, on a terminal or into a text file: one row for each configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

from ..launch import environment
from ..terminal.width import NARROW, TERMINAL_WIDTH
from . import cells
from .document import Analysis, Entry
from .sentences import answer, decisions, remarks

FILE_WIDTH = 280
"""Characters in a line of a text file: enough for all columns side by side."""


class Column(NamedTuple):
    """A column of the table: its heading, and a function that returns the cell of an entry."""

    heading: str
    cell: Callable[[Entry], str]


def _bias_share(entry: Entry) -> str:
    return cells.share_of_risk(entry, entry.decomposition.bias, entry.decomposition.bias_error)


def _variance_share(entry: Entry) -> str:
    return cells.share_of_risk(entry, entry.decomposition.variance, entry.decomposition.variance_error)


NAME = Column("configuration", lambda entry: entry.label)
RATES = (
    Column("final\nexcess risk", cells.risk),
    Column("theory", cells.predicted),
    Column("z", cells.score),
    Column("p", cells.probability),
    Column("slope\n±95%", cells.slope),
    Column("verdict", lambda entry: entry.verdict),
)
SPREAD = (
    Column("bias:\nnorm, z", cells.bias),
    Column("by bias,\n%", _bias_share),
    Column("by var.,\n%", _variance_share),
    Column("mean over\ntheory", lambda entry: cells.number(entry.variance_ratio)),
    Column("shifted over\nalike", cells.penalty),
)
COSTS = (
    Column("information/\npayload/\ntransported", cells.uplink),
    Column("float32\nover these", lambda entry: cells.reduction(entry, entry.reduction_factor.float32)),
    Column("float16\nover these", lambda entry: cells.reduction(entry, entry.reduction_factor.float16)),
    Column("f32/f16 over\ndownlink", lambda entry: cells.downlink(entry.downlink_reduction_factor)),
)
TARGET = (
    Column("rounds to target\n(95% interval)", cells.rounds),
    Column("bytes to\ntarget", lambda entry: cells.size(entry.bytes_to_target)),
    Column("seconds\nto target", lambda entry: cells.number(entry.seconds_to_target)),
)
GROUPS = (RATES, SPREAD, COSTS, TARGET)
"""The columns of each table on a terminal that is too narrow for one table."""


def print_table(analysis: Analysis, file: IO[str] | None = None) -> None:
    """Print the table and the sentences below it on standard output, or as plain text into a file.

    On a terminal that is too narrow for all columns, print one table for each of GROUPS.
    """
    from rich.text import Text

    console = _console(file)
    entries = analysis.configurations
    whole = _table(entries, sum(GROUPS, ()))
    fits = console.measure(whole, options=console.options.update(width=FILE_WIDTH)).maximum <= console.width
    for table in [whole] if fits else [_table(entries, columns) for columns in GROUPS]:
        console.print(table)
    for line in [*remarks(analysis), *decisions(analysis), *answer(analysis.heterogeneity)]:
        console.print(Text(line))


def _console(file: IO[str] | None) -> Console:
    from rich.console import Console

    options: dict[str, Any] = {"highlight": False, "emoji": False}
    if file is not None:
        return Console(file=file, width=FILE_WIDTH, **options)
    if environment.launched_size(os.environ) is None:
        return Console(**options)
    # A launcher may put a pseudo-terminal between a rank and a file, so a terminal does not imply colours.
    width = int(os.environ.get(TERMINAL_WIDTH, NARROW))
    return Console(width=width, force_terminal=False, **options)


def _table(entries: list[Entry], columns: tuple[Column, ...]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column(NAME.heading, overflow="fold", min_width=12)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for entry in entries:
        style = "" if entry.valid else "red"
        table.add_row(*(Text(column.cell(entry), style=style) for column in (NAME, *columns)))
    return table
