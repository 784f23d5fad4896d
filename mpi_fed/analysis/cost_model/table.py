"""Print the predictions as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from .document import HeldOutErrors, Model, RateInterval, Row
from .units import rate_text, seconds_text

SQUARE_ROOT = ", omega = sqrt(d)"
"""The part of a recipe's name that the table shows as a star."""
ASSUMPTIONS = (
    "one client a rank; the messages of all others pass through the root's link, and the root decodes them one by one",
    (
        "reduce, allreduce and broadcasts are trees or scatter and gather among the ranks; to homes, the root sends "
        "w to each participant"
    ),
    (
        "1,448 of the 1,514 bytes of a full packet are payload (TCP with time stamps); links are full duplex, have the "
        "same rate and carry no other traffic; no packet is lost and no connection starts slowly"
    ),
    "software takes the time measured in the files at any number of ranks; latencies and rates of presets are assumed",
    (
        "rounds to a risk are limit trace / (2 risk), the noise that remains once the start is forgotten; roundings to "
        "float16 are ignored; clients have the same distribution; there is no prediction for quantization by a scale "
        "that several clients share"
    ),
    (
        "a compressed downlink reaches every client in every round; machines on which only some clients take part have "
        "no rows for it"
    ),
)
"""The assumptions of the model, in the table and in the JSON document."""


def print_answers(model: Model) -> None:
    """Print a table for each machine, then the errors and the assumptions of the model."""
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
    """Return the cells of a row, without the dimension."""
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
    """Return the route with its downlink: "gather, 16", or "gather, both ways" for the same compressor up and down."""
    if row.downlink:
        same = row.downlink == row.compressor
        return f"{row.route}, " + ("both ways" if same else f"{row.downlink.replace(SQUARE_ROOT, ' *')} back")
    return row.route + ("" if row.downlink_bits is None else f", {row.downlink_bits}")


def factor(value: float | None) -> str:
    """Return a factor such as 1.23, 0.00123 or 45,600, or a dash for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def between(ends: RateInterval) -> str:
    """Return an interval of rates such as "never", "always" or "< 120 Mbit/s", or a dash for None."""
    if ends is None or isinstance(ends, str):
        return ends or "-"
    parts = [f"{sign} {rate_text(end)}" for end, sign in ((ends.above, ">"), (ends.below, "<")) if end]
    return ", ".join(parts)


def remarks(model: Model) -> Iterator[str]:
    """Yield the meaning of the columns, the errors of the model, and its assumptions."""
    yield (
        f"*: omega = sqrt(d). Over: the speed of a round, and to the risk {model.risk:g}, relative to uncompressed "
        "floats up and down by the fastest measured route. Over both at: the rates of the clients' links, with the "
        "other rates in proportion, at which the row is faster than float32 and float16. Rounds needed: relative to "
        "no compression. Round: the mean time of a round; a round in which no client sends takes no time."
    )
    yield error_line(model.held_out.between, "sizes between measured ones")
    yield error_line(model.held_out.beyond, "sizes beyond the measured ones")
    yield f"Assumptions: {'; '.join(ASSUMPTIONS)}."


def percent(share: float) -> str:
    """Return a share as a percentage such as 4% or 0.4%."""
    return f"{100 * share:.{1 if share < 0.0095 else 0}f}%"


def error_line(errors: HeldOutErrors | None, text: str) -> str:
    """Return a sentence with the median and the worst error of held-out points."""
    if errors is None:
        return f"Held-out error, {text}: unknown, as it needs results at three or more dimensions."
    worst = errors.worst_is
    at, back = worst.link, f", {worst.downlink} back" if worst.downlink else ""
    link = "in memory" if at is None else "over links without a limit" if isinstance(at, str) else f"at {rate_text(at)}"
    return (
        f"Held-out error of a round, {text}: median {percent(errors.median)}, worst {percent(errors.worst)} "
        f"({worst.compressor}{back}, d = {worst.dimension:,}, {link}), of {errors.count}."
    )
