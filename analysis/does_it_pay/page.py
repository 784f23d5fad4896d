"""Write the page docs/does-it-pay.md from saved results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mpi_fed.analysis.cost_model.machine import PRESETS, Machine
from mpi_fed.analysis.cost_model.units import rate_text

from .answers import Setup, measured, names
from .markdown import paragraph
from .parts import break_even, far, rounds, to_risk
from .results import Results
from .short import short_answer
from .trust import trust

LINKS = ("10gbit", "1gbit", "100mbit", "10mbit")
MANY = 16
"""The larger number of clients."""
ABSENT = "partial-participation*"
LIMITS = (
    (
        "Two cores: there are no measurements of a shared memory with more clients, of more than 4 hosts, or of "
        "rates between 1 Gbit/s and links without a limit, at which the kernel copies from host to host."
    ),
    (
        "The links have no latency of their own, no loss and no other traffic. Latencies of presets are assumed: 10 µs "
        "at 10 Gbit/s, 30 µs at 1 Gbit/s, 100 µs below, 20 ms to homes; TCP's slow start and MPI's handshakes are not "
        "included."
    ),
    (
        "A link of the virtual cluster transmits the first 0.25 ms of a message at once. Rounds with messages of about "
        "that length are left out of fits, checks and dots. Over most links, messages of omega = sqrt(d) are not "
        "longer, so the results for them are the model's unless something longer travels."
    ),
    (
        "The gradients are cheap here, O(d) for one sample of a diagonal covariance. If they cost more, as in a neural "
        "network, communication takes a smaller share of a round, and compression can gain less."
    ),
    (
        "Rounds to a risk are those of plain SGD on this least-squares problem (Gaussian, eigenvalues 1/i, clients "
        "with the same distribution), after its start is forgotten. Other spectra need other numbers of rounds: "
        "`mpi-fed model --study STUDY.toml` uses yours. Biased compressors with error feedback (top-k) have no such "
        "theory."
    ),
    "MPI cannot add float16, so there is no float16 allreduce here; where one exists, it would be the baseline.",
    (
        "A compressed downlink requires that every client receives every direction, so there are no results for it if "
        "only some clients take part in a round, as with homes. Rounds to a risk of quantization both ways are "
        "by simulation of the noise at w*; those of a shared scale are not known."
    ),
    (
        "A round in which no client sends takes no time here. Fewer rounds of partial participation take time, so it "
        "has results only to a risk."
    ),
)
"""Limits of the results, in the last part of the page."""


def write(page: Path, results: Results) -> None:
    """Write the page, and its pictures in the same folder."""
    page.parent.mkdir(parents=True, exist_ok=True)
    costs = results.costs
    memory = [point for point in results.fitted if point.link is None]
    ranks = max(point.ranks for point in memory) if memory else 2
    alone = [Setup("shared memory", Machine("memory", ranks, cores=ranks), costs)] if memory else []
    pair, many = (
        [Setup(rate_text(PRESETS[name].up or 0), replace(PRESETS[name], clients=n), costs) for name in LINKS]
        for n in (2, MANY)
    )
    dots = measured([*results.fitted, *results.others], costs)
    kinds = names(costs)
    shown = [name for name in kinds if name != ABSENT]
    few = [*alone, *pair]
    lines = [
        *_head(results),
        *short_answer(few, many),
        *rounds(few, many, shown, dots, page),
        *to_risk(few, many, kinds, page),
        *break_even(pair, many, kinds, shown, page),
        *far(costs),
        *trust(results, dots, page),
        *_limits(),
    ]
    page.write_text("\n".join(lines) + "\n")


def _head(results: Results) -> Iterator[str]:
    memory = next((m for m in results.machines if m["link"] is None), results.machines[0])
    linked = [m for m in results.machines if m["link"] is not None]
    yield "# Does compression pay?"
    yield ""
    where = f"{memory.get('cores', '?')} cores, {', '.join(memory.get('cpu', ['unknown']))}"
    text = (
        "`python -m analysis.does_it_pay` measured the results on this page, and wrote it with its pictures. In "
        f"shared memory: {memory.get('mpi_library', 'MPI')} on {where}. "
    )
    if linked:
        finite = sorted({m["link"] for m in linked if m["link"] != "unlimited"})
        rates = ", ".join(map(rate_text, finite))
        rates += " and without a limit" if any(m["link"] == "unlimited" for m in linked) else ""
        text += (
            f"Over links: {linked[0].get('mpi_library', 'MPI')} on a [virtual cluster](virtual-cluster.md) of the same "
            f"cores, with cables of {rates}. "
        )
    else:
        text += "**No link could be shaped there**, so all results for links are the model's, fitted to shared memory. "
    yield from paragraph(text + "The [model](model.md) is fitted to some of these results and compared with the rest.")


def _limits() -> Iterator[str]:
    yield "## Limits of these results"
    yield ""
    for text in LIMITS:
        yield from paragraph(text, bullet=True)
    yield ""
    yield from paragraph(
        "`mpi-fed model runs/does-it-pay/*.json` prints the whole table; `--bandwidth`, `--latency` and `--clients` "
        "print it for another machine."
    )
