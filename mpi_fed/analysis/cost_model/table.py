"""Answers as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from .document import HeldOutErrors, Model, RateInterval, Row
from .units import rate_text, seconds_text

SQUARE_ROOT = ", omega = sqrt(d)"
"""What a recipe's name has for a star in the table."""
ASSUMPTIONS = (
    "one client a rank; through the root's link go the messages of all others, which the root decodes one by one",
    "reduce, allreduce and broadcasts are trees or scatter and gather among the ranks; to homes the root sends "
    "w to each participant",
    "1,448 of the 1,514 bytes of a full packet are payload (TCP with time stamps); links are full duplex, alike, and "
    "carry nothing else; no packet is lost and no connection starts slowly",
    "the software costs what it took in the files, at any number of ranks; latencies and rates of presets are assumed",
    "rounds to a risk are limit trace / (2 risk): the noise that is left when the start is forgotten; roundings to "
    "float16 are left out; clients' data are alike; quantization by a scale that several clients share has none",
    "a direction that comes back compressed reaches every client in every round, so that where some take part it is "
    "not told",
)


def print_answers(model: Model) -> None:
    """A table for each machine, then what the model is wrong by and takes for granted."""
    from rich import box
    from rich.table import Table

    from ...benchmark.table import console

    out = console()
    for machine in model.machines:
        table = Table(
            title=f"{machine.name}: {machine.description}",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        table.add_column("d", justify="right", no_wrap=True)
        table.add_column("compressor", overflow="fold", min_width=23)
        table.add_column("route, bits back", overflow="fold", min_width=14)
        for heading in (
            "round", "over\nfloat32", "over\nfloat16", "over both\nat",
            "rounds\nneeded", "to the\nrisk", "over\nboth", "over both\nat",
        ):  # fmt: skip
            table.add_column(heading, justify="right")
        last = None
        for row in machine.rows:
            first = f"{row.dimension:,}" if row.dimension != last else ""
            table.add_row(first, *cells(row))
            last = row.dimension
        out.print(table)
    for text in remarks(model):
        out.print(text)


def cells(row: Row) -> list[str]:
    """The cells of one row."""
    single, half, both = row.float32, row.float16, row.uncompressed
    return [
        row.compressor.replace(SQUARE_ROOT, " *"),
        route_label(row),
        seconds_text(row.round_seconds),
        factor(single.round if single else None),
        factor(half.round if half else None),
        between(both.faster_between if both else None),
        factor(both.rounds_needed if both else None),
        "-" if row.seconds_to_risk is None else seconds_text(row.seconds_to_risk),
        factor(both.to_risk if both else None),
        between(both.faster_to_risk_between if both else None),
    ]


def route_label(row: Row) -> str:
    """gather, 16; "gather, both ways" where the same compressor packs the way back."""
    if row.downlink:
        same = row.downlink == row.compressor
        return f"{row.route}, " + ("both ways" if same else f"{row.downlink.replace(SQUARE_ROOT, ' *')} back")
    return row.route + ("" if row.downlink_bits is None else f", {row.downlink_bits}")


def factor(value: float | None) -> str:
    """1.23, 0.00123, 45,600."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def between(ends: RateInterval) -> str:
    """never, always, < 120 Mbit/s."""
    if ends is None or isinstance(ends, str):
        return ends or "-"
    parts = [f"{sign} {rate_text(end)}" for end, sign in ((ends.above, ">"), (ends.below, "<")) if end]
    return ", ".join(parts)


def remarks(model: Model) -> Iterator[str]:
    """What the columns mean, how wrong the model is, and what it takes for granted."""
    yield (
        f"*: omega = sqrt(d). Over: how many times as fast, a round and to the risk {model.risk:g}, as such floats "
        "both ways, by the fastest route measured. Over both at: the rates of the clients' links, the others "
        "in proportion, at which it is faster than float32 and float16. Rounds needed: times those without. "
        "A round is the mean; those in which nobody sends take nothing."
    )
    yield error_line(model.held_out.between, "sizes between measured ones")
    yield error_line(model.held_out.beyond, "sizes beyond the measured ones")
    yield f"Taken for granted: {'; '.join(ASSUMPTIONS)}."


def percent(share: float) -> str:
    """4%, 0.4%."""
    return f"{100 * share:.{1 if share < 0.0095 else 0}f}%"


def error_line(errors: HeldOutErrors | None, text: str) -> str:
    """Median and worst error of held-out points."""
    if errors is None:
        return f"Held-out error, {text}: unknown, for that takes three dimensions or more."
    worst = errors.worst_is
    at, back = worst.link, f", {worst.downlink} back" if worst.downlink else ""
    link = "in memory" if at is None else "over links without a limit" if isinstance(at, str) else f"at {rate_text(at)}"
    return (
        f"Held-out error of a round, {text}: median {percent(errors.median)}, worst {percent(errors.worst)} "
        f"({worst.compressor}{back}, d = {worst.dimension:,}, {link}), of {errors.count}."
    )
