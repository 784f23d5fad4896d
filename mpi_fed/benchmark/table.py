"""Print the results of a bench as a table for a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from ..launch import environment
from . import CONVENTION, VALID
from .document import Bench, ComparedResult, Result, Table

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 140
"""Characters in a line of a file; a terminal has its own width."""
DEFAULTS = (("value_bits", 32), ("indices", "shared"))
"""Defaults of compressors that a label leaves out."""
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
"""Scales of `amount` and their letters."""


def console() -> Console:
    """Return a console on standard output; plain and wide unless this process itself writes to a terminal."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty() and environment.launched_size(os.environ) is None
    width, terminal = (None, None) if is_terminal else (WIDTH, False)
    return Console(highlight=False, markup=False, emoji=False, width=width, force_terminal=terminal)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with this many digits and no power of ten, or a dash for None."""
    if value is None:
        return "-"
    places = max(0, digits - len(f"{abs(value):.0f}")) if abs(value) >= 1 else digits
    return f"{value:,.{places}f}"


def amount(value: float | None) -> str:
    """Return a number followed by k, M or G, or a dash for None."""
    if value is None:
        return "-"
    scale, unit = next((pair for pair in UNITS if value >= 0.9995 * pair[0]), UNITS[-1])
    return f"{value / scale:.4g}{unit}"


def print_bench(bench: Bench) -> None:
    """Print a row for each result, the meaning of the columns, and the verdict as the last line."""
    from rich import box
    from rich.table import Table

    out = console()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("d", justify="right", no_wrap=True)
    table.add_column("compressor", overflow="fold", min_width=21)
    table.add_column("route", overflow="fold")
    for heading in (
        "bytes a\nmessage", "round, us\nmedian", "\np90", "\np99", "launches\ndiffer by", "wait,\nus",
        "comm.,\nus", "bare,\nus", "ratio", "C,\nus", "goodput,\nB/s",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    last = None
    for result in bench.results:
        table.add_row(f"{result.dimension:,}" if result.dimension != last else "", *_row(result))
        last = result.dimension
    out.print(table)
    for line in remarks(bench):
        out.print(line)
    out.print(verdict(bench), soft_wrap=True)


def _row(result: Result) -> list[str]:
    times, phases = result.microseconds, result.phases
    return [
        result.name,
        route_label(result),
        amount(result.payload_bytes),
        *map(number, (times.median, times.p90, times.p99) if times else (None, None, None)),
        "-" if result.launch_spread is None else f"{100 * result.launch_spread:.0f}%",
        number(phases["wait"].max if phases else None),
        number(result.communication_microseconds),
        number(result.bare_microseconds),
        number(result.ratio),
        number(result.floor_microseconds),
        amount(result.goodput),
        result.verdict,
    ]


def route_label(result: Result | ComparedResult) -> str:
    """Return the route, and its downlink unless w is sent in floats of 64 bits: "gather, 16 bits back"."""
    if result.downlink:
        return f"{result.route}, {compressor_words(result.downlink)} back"
    bits = result.downlink_bits or 64
    return result.route if bits == 64 else f"{result.route}, {bits} bits back"


def compressor_words(table: Table) -> str:
    """Return a compressor's table as a person types it, without defaults: "quantization levels=127"."""
    shown = {key: value for key, value in table.items() if value is not None and (key, value) not in DEFAULTS}
    return " ".join([str(shown.pop("kind", "?")), *(f"{key}={_text(value)}" for key, value in shown.items())])


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def remarks(bench: Bench) -> list[str]:
    """Return the meaning of the columns, and warnings about this bench."""
    machine, ranks, launches = bench.machine, bench.results[0].ranks, bench.results[0].launches
    columns = (
        f"{ranks} rank{'s' * (ranks > 1)}, one client each, {machine['mpi_library']}, {', '.join(machine['cpu'])}, "
        f"{machine['cores']} cores, {launches} launch{'es' * (launches > 1)}: {CONVENTION}; launches differ by: the "
        "largest of their medians over the smallest, minus 1; wait: for the slowest rank, the largest of the ranks' "
        "medians, in no other column; bare: the same collectives without the rest of the round; C: the same from a "
        "program in C, in a launch of its own; goodput: packed bytes over communication."
    )
    lines = [columns]
    if launches == 1:
        lines.append("A single launch: how much launches differ from each other is unknown.")
    if len(machine["hosts"]) == 1 and ranks > machine["cores"]:
        lines.append("More ranks than cores: times measure the machine's scheduling.")
    if not machine["compiled"]:
        lines.append("Without compilation (NUMBA_DISABLE_JIT): times say nothing about compiled rounds.")
    return lines


def verdict(bench: Bench) -> str:
    """Return VALID, or the results that are INVALID and the reasons."""
    if bench.verdict == VALID:
        return VALID
    faults = [
        f"{result.name} on {route_label(result)} at d = {result.dimension:,}: {'; '.join(result.reasons)}"
        for result in bench.results
        if result.verdict != VALID
    ]
    return f"INVALID: {' | '.join(faults)}"
