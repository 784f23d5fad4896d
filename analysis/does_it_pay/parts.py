"""Write the parts of the page: a round, to a risk, break-even, and larger machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mpi_fed.analysis.cost_model.costs import MEMORY, Costs
from mpi_fed.analysis.cost_model.document import Row
from mpi_fed.analysis.cost_model.machine import PRESETS, Machine
from mpi_fed.analysis.cost_model.table import between, factor
from mpi_fed.analysis.cost_model.units import seconds_text

from . import pictures
from .answers import (
    DECADES,
    PAYS,
    RISK,
    Measured,
    Setup,
    downlinks,
    gain,
    name_of,
    rates,
    rounds_needed,
    span,
    winner,
)
from .markdown import paragraph, picture, table

LARGE = (
    Machine("a laptop's memory", 2, cores=2),
    replace(PRESETS["10gbit"], name="hosts"),
    replace(PRESETS["1gbit"], name="hosts", clients=64),
    replace(PRESETS["100mbit"], name="hosts"),
    replace(PRESETS["homes-100"], name="homes"),
    replace(PRESETS["homes-10k"], name="homes"),
    replace(PRESETS["homes-1m"], name="homes"),
)


def rounds(
    few: Sequence[Setup], many: Sequence[Setup], shown: Sequence[str], dots: Sequence[Measured], page: Path
) -> Iterator[str]:
    """Yield the part on the speed of a round."""
    yield "## A round"
    yield ""
    file, link = picture(page, "round", "Times as fast a round, over dimensions, for each link")
    two = [dot for dot in dots if dot.hosts == 2]
    pictures.gains(few, shown, "round", two, file)
    yield link
    yield ""
    yield from paragraph("2 clients; lines: the model, dots: measured. At each size the fastest, times as fast:")
    for setups, title in ((few, "2 clients"), (many, f"{many[0].machine.clients} clients")):
        yield from table([title, *(f"d = {d:,}" for d in DECADES)], [winners(s, "round") for s in setups])
    yield from paragraph(f"From which dimension on, of 1,000 to 1,000,000, it is {PAYS:g} times as fast or more:")
    for setups, title in ((few, "2 clients"), (many, f"{many[0].machine.clients} clients")):
        yield from _spans(setups, title, shown, "round")
    yield from paragraph(
        "By downlink, at d = 100,000 and 2 clients: times as fast as float32 both ways with a downlink of 32 bits / as "
        "float16 both ways with one of 16 bits:"
    )
    rows = []
    for name in shown:
        if not any(downlinks(setup, name, 100_000) for setup in few):
            continue  # the iterate is not sent back
        cells = []
        for setup in few:
            by_bits = downlinks(setup, name, 100_000)
            single, half = by_bits.get(32), by_bits.get(16)
            pair = single and single.float32, half and half.float16
            cells.append(" / ".join(factor(gain.round if gain else None) for gain in pair))
        rows.append([name, *cells])
    yield from table(["", *(setup.title for setup in few)], rows)


def _spans(setups: Sequence[Setup], title: str, names: Sequence[str], key: str) -> Iterator[str]:
    """Yield a table of the dimensions at which each compressor pays, and a sentence on compressors that never pay."""
    rows = [[name, *(span(setup.gains(name, key)) for setup in setups)] for name in names]
    known = [row for row in rows if set(row[1:]) != {"-"}]
    paying = [row for row in known if not {*row[1:]} <= {"nowhere", "-"}]
    if paying:
        yield from table([title, *(setup.title for setup in setups)], paying)
    nowhere = "; ".join(row[0] for row in known if row not in paying)
    unknown = "; ".join(row[0] for row in rows if row not in known)
    text = f"With {title} nowhere: {nowhere}. " if nowhere else ""
    text += f"Not known: {unknown}." if unknown else ""
    if text:
        yield from paragraph(text.strip())


def to_risk(few: Sequence[Setup], many: Sequence[Setup], kinds: Sequence[str], page: Path) -> Iterator[str]:
    """Yield the part on the time to a risk."""
    yield "## To a risk"
    yield ""
    file, link = picture(page, "risk", "Times as fast to the same risk, over dimensions, for each link")
    pictures.gains(few, kinds, "to_risk", [], file)
    yield link
    yield ""
    yield from paragraph(
        "2 clients; factors below 0.01 are cut off. Rounds to a risk eps are (limit trace) / (2 eps) by theory, for "
        "small eps, so the factor by which a compressor is faster does not depend on eps. Its rounds, relative to "
        "those without compression:"
    )
    rows = []
    for name in kinds:
        best = dict(few[0].best(name, "to_risk"))
        if best:
            cells = [factor(rounds_needed(best[d])) if d in best else "-" for d in DECADES]
            rows.append([name, *cells])
    yield from table(["rounds needed", *(f"d = {d:,}" for d in DECADES)], rows)
    yield from paragraph("At each size the fastest, times as fast:")
    for setups, title in ((few, "2 clients"), (many, f"{many[0].machine.clients} clients")):
        yield from table([title, *(f"d = {d:,}" for d in DECADES)], [winners(s, "to_risk") for s in setups])
    yield from paragraph(f"Where it pays, {PAYS:g} times or more:")
    for setups, title in ((few, "2 clients"), (many, f"{many[0].machine.clients} clients")):
        yield from _spans(setups, title, kinds, "to_risk")


def break_even(
    pair: Sequence[Setup], many: Sequence[Setup], kinds: Sequence[str], shown: Sequence[str], page: Path
) -> Iterator[str]:
    """Yield the part on the link rates below which compression pays."""
    yield "## Break-even"
    yield ""
    file, link = picture(page, "break-even", "Rates below which each compressor is faster than no compression")
    pictures.break_even((pair[1], many[1]), shown, file)
    yield link
    yield ""
    yield from paragraph(
        "The rates of all links at which a compressor is faster than float32 and float16 both ways, at d = 100,000 and "
        "with the latency of the 1 Gbit/s preset. Rates above 1 Gbit/s were not measured. In the picture, compressors "
        "that are faster at any rate are at the top."
    )
    rows = []
    for name in kinds:
        cells = []
        for setup in (pair[1], many[1]):
            for key in ("round", "to_risk"):
                row = dict(setup.best(name, key)).get(100_000)
                cells.append(between(rates(row, key)) if row else "-")
        rows.append([name, *cells])
    counts = pair[0].machine.clients, many[0].machine.clients
    heads = [f"{count} clients, {column}" for count in counts for column in ("a round", "to a risk")]
    yield from table(["", *heads], rows)


def far(costs: Costs) -> Iterator[str]:
    """Yield the part on machines from a laptop to a million homes."""
    yield "## From a laptop to a million homes"
    yield ""
    yield from paragraph(
        f"Risk {RISK:g}, noise of variance 1, all modelled. A round and the time to the risk without compression (the "
        "faster of float32 and float16), and the fastest compressor with how many times as fast it is. The more "
        "clients take part in a round, the longer the root decodes, one message after the other."
    )
    for dimension in (1_000, 100_000):
        rows = []
        for machine in LARGE:
            if machine.is_memory and not any(medium == MEMORY for medium, _ in costs.ways):
                continue
            all_rows = Setup(machine.name, machine, costs).at(dimension)
            plain = [row for row in all_rows if row.compressor in ("float32", "float16")]
            base = min((row for row in plain if gain(row, "round") == 1), key=lambda row: row.round_seconds)
            rows.append([
                f"{machine.name}: {machine}",
                f"{seconds_text(base.round_seconds)} ({base.compressor}, {base.route})",
                cell(winner(all_rows, "round"), "round"),
                "-" if base.seconds_to_risk is None else seconds_text(base.seconds_to_risk),
                cell(winner(all_rows, "to_risk"), "to_risk"),
            ])  # fmt: skip
        heads = [f"d = {dimension:,}", "a round", "compressed", "to the risk", "compressed"]
        yield from table(heads, rows)


def winners(setup: Setup, key: str) -> list[str]:
    """Return a table row with the fastest compressor of each dimension."""
    return [setup.title, *(cell(winner(setup.at(d), key), key) for d in DECADES)]


def cell(row: Row | None, key: str) -> str:
    """Return the gain and the name of a compressor, in bold if it pays; a dash without a row."""
    if row is None:
        return "-"
    value = gain(row, key) or 0.0
    text = f"{factor(value)}, {name_of(row)}"
    return "**{}**".format(text.replace("*", r"\*")) if value >= PAYS else text
