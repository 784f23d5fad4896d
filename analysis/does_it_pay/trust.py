"""Write the part on the errors of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mpi_fed.analysis.cost_model.held_out import Miss, summary
from mpi_fed.analysis.cost_model.table import factor, percent
from mpi_fed.analysis.cost_model.units import rate_text, seconds_text

from . import pictures
from .answers import Measured, short
from .markdown import paragraph, picture, table
from .results import Results

SHOWN = (
    "quantization*", "quantization 127", "rand-h*", "quantization 127 both ways", "rand-h* both ways",
    "bernoulli p=0.1, common mask",
)  # fmt: skip
"""Compressors in the table of measured gains."""


def trust(results: Results, dots: Sequence[Measured], page: Path) -> Iterator[str]:
    """Yield the part on the errors of the model."""
    yield "## How far to trust it"
    yield ""
    file, link = picture(page, "error", "Predicted over measured seconds of a round")
    pictures.errors(results, file)
    yield link
    yield ""
    yield from paragraph(
        "The picture has rounds that were left out of the fit; hollow: beyond the sizes of the fit. The results for "
        "1,000 to 1,000,000 dimensions and for 30 Mbit/s to 1 Gbit/s lie between measured ones; 10 Gbit/s lies between "
        "1 Gbit/s and links without a limit, if those were measured. The model uses an observation on the 4 hosts: "
        "fewer than 8 ranks pass the whole iterate down a tree. So only the uplink of their rounds is a test."
    )
    rows = []
    held_out = results.held_out
    for medium, misses in (
        ("shared memory", [m for m in held_out if m.point.link is None]),
        ("links", [m for m in held_out if m.point.link is not None]),
    ):
        for where, beyond in (("between measured sizes", False), ("beyond them", True)):
            chosen = [m for m in misses if m.beyond == beyond]
            rows += _error_row(f"a size left out, {medium}, {where}", chosen)
    for (rate, hosts), chosen in _by_link(results.checks).items():
        rows += _error_row(f"{rate_text(rate)}, {hosts} hosts: rate or number of hosts not in the fit", chosen)
    yield from table(["left out of the fit", "rounds", "median error", "worst", "which"], rows)
    linked = [dot for dot in dots if dot.link is not None and dot.dimension >= 30_000]
    if linked:
        yield "The speed of a round relative to no compression over shaped links, as measured and by the model:"
        yield ""
        compared = [
            [f"{rate_text(m.link or 0)}, {m.hosts} hosts", f"{m.dimension:,}", m.name, seconds_text(m.seconds),
             factor(m.gain), factor(m.modelled)]
            for m in sorted(linked, key=lambda m: (-(m.link or 0), m.hosts, m.dimension, m.name))
            if m.name in SHOWN
        ]  # fmt: skip
        yield from table(["link", "d", "compressor", "a round", "measured", "modelled"], compared)


def _by_link(misses: Sequence[Miss]) -> dict[tuple[float, int], list[Miss]]:
    by_link: dict[tuple[float, int], list[Miss]] = {}
    for miss in misses:
        by_link.setdefault((miss.point.link or 0.0, miss.point.ranks), []).append(miss)
    return by_link


def _error_row(name: str, misses: Sequence[Miss]) -> list[list[str]]:
    errors = summary(misses)
    if errors is None:
        return []
    worst = errors.worst_is
    which = f"{short(worst.compressor, worst.downlink)}, d = {worst.dimension:,}"
    return [[name, str(errors.count), percent(errors.median), percent(errors.worst), which]]
