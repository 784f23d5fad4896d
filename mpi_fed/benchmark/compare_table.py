"""Print a comparison of two benches as a table for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .compare import NEITHER, SINGLE
from .document import Comparison
from .table import console, number, route_label


def print_comparison(comparison: Comparison) -> None:
    """Print a row for each result, then the remarks."""
    from rich import box
    from rich.table import Table

    out = console()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("d", "ranks"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("compressor", "route"):
        table.add_column(heading, overflow="fold")
    for heading in ("A, us\nmedian", "B, us\nmedian", "B over A", "interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in comparison.lines:
        interval = " to ".join(number(end) for end in (line.low, line.high))
        cells = (f"{line.dimension:,}", str(line.ranks), line.label, route_label(line))
        table.add_row(*cells, *map(number, line.microseconds), number(line.ratio), interval, line.verdict)
    out.print(table)
    for text in _remarks(comparison):
        out.print(text, soft_wrap=True)


def _remarks(comparison: Comparison) -> Iterator[str]:
    """Yield the differences between the machines, the results left out, the confidence, and the outcome last."""
    for name, (first, second) in comparison.machine_differs.items():
        yield f"machine differs, {name}: {json.dumps(first)} in A, {json.dumps(second)} in B"
    for names, text in (
        (comparison.only_in_first, "only in A"),
        (comparison.only_in_second, "only in B"),
        (comparison.invalid, "INVALID"),
    ):
        for name in names:
            yield f"{text}, not compared: {name}"
    single = sum(line.uncertainty == SINGLE for line in comparison.lines)
    if single:
        yield (
            f"{single} of {len(comparison.lines)} from a single launch: the interval covers the rounds of that launch "
            "only; how much launches differ is unknown; run `mpi-fed bench --launches 5`"
        )
    count = comparison.comparisons
    yield (
        f"All {count} intervals hold jointly with {100 * comparison.confidence:.0f}% confidence (each with "
        f"{100 * (1 - (1 - comparison.confidence) / max(1, count)):.3g}%). Slower or faster: the interval excludes "
        f"1, and the ratio is at least {comparison.threshold:g} or at most its inverse."
    )
    slower, faster = comparison.slower, comparison.faster
    yield f"{slower} slower, {faster} faster, {count - slower - faster} {NEITHER}"
