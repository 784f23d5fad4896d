"""Write the first table, and its content in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mpi_fed.analysis.cost_model.document import Row
from mpi_fed.analysis.cost_model.table import factor

from .answers import BOTH_WAYS, COMMON, PAYS, SHARED, Setup, about, gain, name_of, names, span, winner
from .markdown import paragraph, table


def short_answer(few: Sequence[Setup], many: Sequence[Setup]) -> Iterator[str]:
    """Yield the first part of the page."""
    yield "## In short"
    yield ""
    rows = [_best(setup) for setup in [*few, *many]]
    heads = (
        "link, clients", "a round: fastest at", "pays at d", "times as fast", "over float16",
        "to a risk: fastest at", "pays at d", "times as fast",
    )  # fmt: skip
    yield from table(heads, rows)
    yield from paragraph(
        f"Times as fast: speed relative to no compression, at the d from 1,000 to 1,000,000 where it is largest; "
        f"compression pays if it is at least {PAYS:g}. No compression means float32 or float16 both ways, whichever "
        "is faster there, by the fastest measured route: gather with a broadcast, and for float32 also allreduce. "
        "Unless stated otherwise, compressed messages are gathered, and the iterate comes back in float16 or float32, "
        "whichever is faster. "
        f"{_variants(few[0])}A star means omega = sqrt(d); the numbers after quantization are its levels. The results "
        "for 10 Gbit/s and for 16 clients are the model's."
    )
    yield from _sentences(few, many)


def _best(setup: Setup) -> list[str]:
    """Return a row of the first table."""
    cells = [f"{setup.title}, {setup.machine.clients}"]
    for key in ("round", "to_risk"):
        curve = [(row.dimension, row) for row in _winners(setup, key)]
        if not curve:
            return [*cells, *["-"] * (7 if key == "round" else 3)]
        most, row = max(curve, key=lambda pair: gain(pair[1], key) or 0.0)
        value = gain(row, key) or 0.0
        text = f"**{factor(value)}**" if value >= PAYS else factor(value)
        where = span([(d, gain(r, key) or 0.0) for d, r in curve])
        cells += [f"{name_of(row)}, {about(most)}", where, text]
        if key == "round":
            cells.append(factor(row.float16.round if row.float16 else None))
    return cells


def _variants(setup: Setup) -> str:
    """Return the meanings of the ends of names, for the ends that occur in the measured names."""
    meanings = {
        BOTH_WAYS: "the step's direction comes back, compressed as the messages are",
        COMMON: "all clients keep the same coordinates, so that MPI_Allreduce adds messages up",
        SHARED: "all clients quantize by one norm, so that MPI_Reduce adds levels up",
    }
    known = names(setup.costs)
    texts = [f'"{end.strip(", ")}": {text}. ' for end, text in meanings.items() if any(n.endswith(end) for n in known)]
    return "".join(texts)


def _sentences(few: Sequence[Setup], many: Sequence[Setup]) -> Iterator[str]:
    text = (
        "**A round** is shorter with a compressor if messages are so long that the round waits for the link. If the "
        "iterate comes back in floats, a round of two clients is never shorter than half of the uncompressed one. "
    )
    ends = (
        (BOTH_WAYS, "Compressed both ways, rounds are"),
        (COMMON, "If all clients keep the same coordinates, only sums of short messages travel, and rounds are"),
    )
    for end, words in ends:
        most = [(gain(row, "round") or 0.0, s, row) for s in few for row in _ending(s, end)]
        if most:
            value, setup, row = max(most, key=lambda triple: triple[0])
            text += f"{words} {factor(value)} times as fast at most, {_at(row)} over {setup.title}. "
    memory = [(gain(row, "round") or 0.0, row) for s in few if s.machine.is_memory for row in _winners(s, "round")]
    if memory:
        value, row = max(memory, key=lambda triple: triple[0])
        text += f"In shared memory, rounds are {factor(value)} times as fast at most, {_at(row)}."
    yield from paragraph(text, bullet=True)
    yield from _baseline(many[-2])
    wins = [s for s in [*few, *many] if any((gain(row, "to_risk") or 0) >= PAYS for row in _levels(s))]
    text = "**To a risk**, the time is that of a round times the number of rounds. "
    starred = max((gain(row, "to_risk") or 0.0 for s in [*few, *many] for row in _starred(s)), default=0.0)
    if starred < PAYS:
        text += (
            "A compressor with omega = sqrt(d) needs so many more rounds on this problem (eigenvalues 1/i; see the "
            "table below) that it does not pay over any link. "
        )
    text += "Quantization with many levels needs few more rounds, "
    if wins:
        row = max((r for s in wins for r in _levels(s)), key=lambda row: gain(row, "to_risk") or 0.0)
        value = gain(row, "to_risk") or 0.0
        largest = f"{factor(value)} times, {_at(row)}"
        where = "; ".join(f"{s.title}, {s.machine.clients} clients" for s in wins)
        text += f"and pays, at most {largest}: {where}."
    else:
        text += "and does not pay here either."
    yield from paragraph(text, bullet=True)
    yield ""


def _baseline(setup: Setup, dimension: int = 100_000) -> Iterator[str]:
    """Yield a bullet that explains how allreduce, which adds floats on their way, changes the comparison."""
    plain = {(row.compressor, row.downlink_bits): row for row in setup.at(dimension)}
    half = plain.get(("float16", 16))
    summed = next((row for row in plain.values() if row.route == "allreduce"), None)
    rounds = winner(setup.at(dimension), "round")
    if half is None or summed is None or rounds is None:
        return
    over = half.round_seconds / summed.round_seconds
    over_half = rounds.float16.round if rounds.float16 else None
    yield from paragraph(
        f"**The baseline decides.** With {setup.machine.clients} clients over {setup.title} and d = {dimension:,}, the "
        f"fastest compressor is {factor(over_half)} times as fast as float16 that is gathered and "
        f"broadcast, but only {factor(gain(rounds, 'round'))} times as fast as the fastest round without compression: "
        f"allreduce adds floats on their way, so float32 by allreduce is {factor(over)} times as fast as float16 by "
        "gather. MPI cannot add float16; a library that can moves half the bytes.",
        bullet=True,
    )


def _at(row: Row) -> str:
    return f"{name_of(row)} at d = {row.dimension:,}"


def _winners(setup: Setup, key: str) -> Iterator[Row]:
    """Yield the fastest compressor's row of each dimension."""
    yield from (row for rows in setup.rows.values() if (row := winner(rows, key)) is not None)


def _ending(setup: Setup, end: str) -> Iterator[Row]:
    yield from (row for rows in setup.rows.values() for row in rows if name_of(row).endswith(end))


def _starred(setup: Setup) -> Iterator[Row]:
    yield from (row for rows in setup.rows.values() for row in rows if "*" in name_of(row))


def _levels(setup: Setup) -> Iterator[Row]:
    for rows in setup.rows.values():
        for row in rows:
            if row.compressor.startswith("quantization levels") and gain(row, "to_risk") is not None:
                yield row
