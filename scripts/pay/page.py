"""The page docs/does-it-pay.md, from saved results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mpi_fed.analysis.cost.answer import Row
from mpi_fed.analysis.cost.heldout import Miss, summary
from mpi_fed.analysis.cost.machine import PRESETS, Machine
from mpi_fed.analysis.cost.table import between, factor, percent
from mpi_fed.analysis.cost.units import told_rate, told_seconds

from . import pictures
from .answers import DECADES, PAYS, RISK, Measured, Setup, downlinks, gain, measured, names, short, span, winner
from .results import Results

LINKS = ("10gbit", "1gbit", "100mbit", "10mbit")
MANY = 16
ABSENT = "partial-participation*"
LARGE = (
    Machine("a laptop's memory", 2, cores=2),
    replace(PRESETS["10gbit"], name="hosts"),
    replace(PRESETS["1gbit"], name="hosts", clients=64),
    replace(PRESETS["100mbit"], name="hosts"),
    replace(PRESETS["homes-100"], name="homes"),
    replace(PRESETS["homes-10k"], name="homes"),
    replace(PRESETS["homes-1m"], name="homes"),
)


def write(page: Path, results: Results) -> None:
    """The page, and its pictures beside it."""
    costs = results.costs
    memory = [point for point in results.fitted if point.link is None]
    ranks = max(point.ranks for point in memory) if memory else 2
    alone = [Setup("shared memory", Machine("memory", ranks, cores=ranks), costs)] if memory else []
    pair, many = (
        [Setup(told_rate(PRESETS[name].up or 0), replace(PRESETS[name], clients=n), costs) for name in LINKS]
        for n in (2, MANY)
    )
    dots = measured([*results.fitted, *results.others], costs)
    kinds = names(costs)
    told = [name for name in kinds if name != ABSENT]
    few, hosts = [*alone, *pair], [*alone, *many]
    lines = [
        *_head(results),
        *_short(few, hosts),
        *_rounds(few, hosts, told, dots, page),
        *_risk(few, hosts, kinds, page),
        *_break_even(pair, many, kinds, told, page),
        *_far(costs),
        *_trust(results, dots, page),
        *_limits(results),
    ]
    page.write_text("\n".join(lines) + "\n")


def _picture(page: Path, name: str, caption: str) -> tuple[Path, str]:
    file = page.with_name(f"{page.stem}-{name}.png")
    return file, f"![{caption}]({file.name})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _head(results: Results) -> Iterator[str]:
    memory = next((m for m in results.machines if m["link"] is None), results.machines[0])
    linked = [m for m in results.machines if m["link"] is not None]
    yield "# Does compression pay?"
    yield ""
    cpu, cores = ", ".join(memory.get("cpu", ["unknown"])), memory.get("cores", "?")
    yield "`python scripts/does_it_pay.py` has measured this and written this page, pictures and all. In shared memory:"
    yield f"{memory.get('mpi_library', 'MPI')} on {cores} cores, {cpu}."
    if linked:
        rates = sorted({m["link"] for m in linked})
        yield (
            f"Over links: {linked[0].get('mpi_library', 'MPI')} on a [virtual cluster](virtual-cluster.md) of the same "
            f"cores, with cables of {', '.join(map(told_rate, rates))}."
        )
    else:
        yield "**No link could be shaped there**, so that all about links is the model's, from shared memory alone."
    yield "The [model](model.md) is fitted to some of these results and held against the rest."
    yield ""


def _short(few: Sequence[Setup], hosts: Sequence[Setup]) -> Iterator[str]:
    yield "## In short"
    yield ""
    yield "How many times as fast as without compression is the fastest compressor? Without means float32 or float16"
    yield "both ways, whichever is faster there, by the fastest route that was measured: gather with a broadcast, for"
    yield f"float32 allreduce too. **Bold**: {PAYS:g} times or more. A star means omega = sqrt(d); numbers are levels."
    yield ""
    for title, setups, key in (
        ("A round, 2 clients", few, "round"),
        (f"A round, {MANY} clients behind links", hosts[-4:], "round"),
        (f"To the same risk, 2 clients (and the same for any risk that is small; {RISK:g} below)", few, "to_risk"),
        (f"To the same risk, {MANY} clients behind links", hosts[-4:], "to_risk"),
    ):
        yield from _table([title, *(f"d = {d:,}" for d in DECADES)], [_winners(setup, key) for setup in setups])
    yield from _sentences(few, hosts)


def _winners(setup: Setup, key: str) -> list[str]:
    return [setup.title, *(_cell(winner(setup.at(d), key), key) for d in DECADES)]


def _cell(row: Row | None, key: str) -> str:
    if row is None:
        return "-"
    value = gain(row, key) or 0.0
    text = f"{factor(value)}, {short(row['compressor'])}"
    return f"**{text}**" if value >= PAYS else text


def _sentences(few: Sequence[Setup], hosts: Sequence[Setup]) -> Iterator[str]:
    yield "* **A round** is shorter with a compressor where the link is what a round waits for. But for two clients no more"
    yield "  than half of it goes away, as the iterate comes back in floats all the same. With more clients behind one"
    yield "  root's link the way up weighs more."
    yield "* **To a risk**, what counts is time a round times rounds. A compressor of omega = sqrt(d) needs so many more"
    yield "  rounds on this problem (eigenvalues 1/i; the table is below) that no link makes up for it. Quantization with"
    yield "  many levels"
    wins = [s for s in [*few, *hosts] if any((gain(row, "to_risk") or 0) >= PAYS for _, row in _levels(s))]
    if wins:
        most = max((gain(row, "to_risk") or 0.0, s.title, row) for s in wins for _, row in _levels(s))[::2]
        yield "  needs few more rounds, and it alone pays"
        yield f"  ({', '.join(dict.fromkeys(s.title for s in wins))}): at most {factor(most[0])} times,"
        yield f"  {short(most[1]['compressor'])} at d = {most[1]['dimension']:,}."
    else:
        yield "  needs few more rounds, and does not pay here either."
    yield "* **float16 instead of float32** is most of what there is to gain over slow links, and costs no rounds."
    yield ""


def _levels(setup: Setup) -> Iterator[tuple[int, Row]]:
    for rows in setup.rows.values():
        yield from (
            (row["dimension"], row)
            for row in rows
            if row["compressor"].startswith("quantization levels") and gain(row, "to_risk") is not None
        )


def _rounds(
    few: Sequence[Setup], hosts: Sequence[Setup], told: Sequence[str], dots: Sequence[Measured], page: Path
) -> Iterator[str]:
    yield "## A round"
    yield ""
    file, link = _picture(page, "round", "Times as fast a round, over dimensions, for each link")
    two = [dot for dot in dots if dot.hosts == 2]
    pictures.gains(few, told, "round", two, file)
    yield link
    yield ""
    yield "2 clients; lines: the model, dots: measured. From which dimension on (1,000 to 1,000,000) it is"
    yield f"{PAYS:g} times as fast or more, the better of the two downlinks:"
    yield ""
    for setups, title in ((few, "2 clients"), (hosts[-4:], f"{MANY} clients")):
        rows = [[name, *(span(setup.gains(name, "round")) for setup in setups)] for name in told]
        yield from _table([title, *(setup.title for setup in setups)], rows)
    yield "Both downlinks at d = 100,000, 2 clients: times as fast as float32 both ways with a downlink of 32 bits / as"
    yield "float16 both ways with one of 16 bits:"
    yield ""
    rows = []
    for name in told:
        cells = []
        for setup in few:
            by = downlinks(setup, name, 100_000)
            pair = ((by.get(bits) or {}).get(f"float{bits}") for bits in (32, 16))
            cells.append(" / ".join(factor((one or {}).get("round")) for one in pair))
        rows.append([name, *cells])
    yield from _table(["", *(setup.title for setup in few)], rows)


def _risk(few: Sequence[Setup], hosts: Sequence[Setup], kinds: Sequence[str], page: Path) -> Iterator[str]:
    yield "## To a risk"
    yield ""
    file, link = _picture(page, "risk", "Times as fast to the same risk, over dimensions, for each link")
    pictures.gains(few, kinds, "to_risk", [], file)
    yield link
    yield ""
    yield "2 clients. Rounds to a risk eps are (limit trace) / (2 eps) by theory, exact for small eps: those of each"
    yield "compressor, times those without compression:"
    yield ""
    rows = []
    for name in kinds:
        best = dict(few[0].best(name, "to_risk"))
        cells = [factor(best[d]["uncompressed"]["rounds_needed"]) if d in best else "-" for d in DECADES]
        rows.append([name, *cells])
    yield from _table(["rounds needed", *(f"d = {d:,}" for d in DECADES)], rows)
    yield f"Where it pays, {PAYS:g} times or more:"
    yield ""
    for setups, title in ((few, "2 clients"), (hosts[-4:], f"{MANY} clients")):
        table = [[name, *(span(setup.gains(name, "to_risk")) for setup in setups)] for name in kinds]
        yield from _table([title, *(setup.title for setup in setups)], table)


def _break_even(
    pair: Sequence[Setup], many: Sequence[Setup], kinds: Sequence[str], told: Sequence[str], page: Path
) -> Iterator[str]:
    yield "## Break-even"
    yield ""
    file, link = _picture(page, "break-even", "Rates below which each compressor is faster than no compression")
    pictures.break_even((pair[1], many[1]), told, file)
    yield link
    yield ""
    yield "At which rates of all links a compressor is faster than float32 and float16 both ways, at d = 100,000; with"
    yield "the latency of the 1 Gbit/s preset. Rates above those that were measured are the model's word alone."
    yield ""
    rows = []
    for name in kinds:
        cells = []
        for setup in (pair[1], many[1]):
            for key, of in (("faster_between", "round"), ("faster_to_risk_between", "to_risk")):
                row = dict(setup.best(name, of)).get(100_000)
                cells.append(between(row["uncompressed"][key]) if row else "-")
        rows.append([name, *cells])
    heads = [f"{n} clients, {what}" for n in (2, MANY) for what in ("a round", "to a risk")]
    yield from _table(["", *heads], rows)


def _far(costs: Any) -> Iterator[str]:
    yield "## From a laptop to a million homes"
    yield ""
    yield f"Risk {RISK:g}, noise of variance 1, all modelled. A round and the time to the risk without compression (the"
    yield "faster of float32 and float16), and the fastest compressor with how many times as fast it is."
    yield ""
    for dimension in (1_000, 100_000):
        rows = []
        for machine in LARGE:
            if machine.is_memory and not any(medium == "shared memory" for medium, _ in costs.ways):
                continue
            own = Setup(machine.name, machine, costs).at(dimension)
            plain = [row for row in own if row["compressor"] in ("float32", "float16")]
            base = min((row for row in plain if gain(row, "round") == 1), key=lambda row: row["round_seconds"])
            rows.append([
                f"{machine.name}: {machine}",
                f"{told_seconds(base['round_seconds'])} ({base['compressor']}, {base['route']})",
                _cell(winner(own, "round"), "round"),
                told_seconds(base["seconds_to_risk"]),
                _cell(winner(own, "to_risk"), "to_risk"),
            ])  # fmt: skip
        heads = [f"d = {dimension:,}", "a round", "compressed", "to the risk", "compressed"]
        yield from _table(heads, rows)


def _trust(results: Results, dots: Sequence[Measured], page: Path) -> Iterator[str]:
    yield "## How far to trust it"
    yield ""
    file, link = _picture(page, "error", "Predicted over measured seconds of a round")
    pictures.errors(results, file)
    yield link
    yield ""
    yield "Seconds of a round that the model predicted without having seen them; hollow: beyond the sizes that it had."
    yield ""
    rows = []
    held = results.held_out
    for medium, own in (
        ("shared memory", [m for m in held if m.point.link is None]),
        ("links", [m for m in held if m.point.link is not None]),
    ):
        for where, beyond in (("between measured sizes", False), ("beyond them", True)):
            chosen = [m for m in own if m.beyond == beyond]
            rows += _error_row(f"a size left out, {medium}, {where}", chosen)
    for (rate, hosts), chosen in _by_link(results.checks).items():
        rows += _error_row(f"{told_rate(rate)}, {hosts} hosts: no such rate or number in the fit", chosen)
    yield from _table(["left out of the fit", "rounds", "median error", "worst", "which"], rows)
    linked = [dot for dot in dots if dot.link is not None and dot.dimension >= 30_000]
    if linked:
        yield "Measured over shaped links, how many times as fast a round as without compression, and the model's word:"
        yield ""
        told = [
            [f"{told_rate(m.link or 0)}, {m.hosts} hosts", f"{m.dimension:,}", m.name, told_seconds(m.seconds),
             factor(m.gain), factor(m.modelled)]
            for m in sorted(linked, key=lambda m: (-(m.link or 0), m.hosts, m.dimension, m.name))
            if m.name in ("quantization*", "quantization 127", "rand-h*")
        ]  # fmt: skip
        yield from _table(["link", "d", "compressor", "a round", "measured", "modelled"], told)


def _by_link(misses: Sequence[Miss]) -> dict[tuple[float, int], list[Miss]]:
    found: dict[tuple[float, int], list[Miss]] = {}
    for miss in misses:
        found.setdefault((miss.point.link or 0.0, miss.point.ranks), []).append(miss)
    return found


def _error_row(name: str, misses: Sequence[Miss]) -> list[list[str]]:
    told = summary(misses)
    if told is None:
        return []
    worst = told["worst_is"]
    which = f"{short(worst['compressor'])}, d = {worst['dimension']:,}"
    return [[name, str(told["count"]), percent(told["median"]), percent(told["worst"]), which]]


def _limits(results: Results) -> Iterator[str]:
    yield "## What this does not say"
    yield ""
    yield "* Two cores: what a shared memory with more clients does is not measured, and nothing above 4 hosts is."
    yield "* The links have no latency, no loss and no other traffic. Latencies of presets are assumed: 10 µs at"
    yield "  10 Gbit/s, 30 µs at 1 Gbit/s, 100 µs below, 20 ms to homes. Nothing above 1 Gbit/s was measured."
    yield "* A cable of the virtual cluster lets the first 0.25 ms of a message through at once. Rounds with messages"
    yield "  of about that length are left out of fits, checks and dots."
    yield "* The gradients are cheap here, O(d) for one sample of a diagonal covariance. Where they cost more, as in a"
    yield "  neural network, the share of communication in a round is smaller, and so is what compression can gain."
    yield "* Rounds to a risk are those of plain SGD on this least-squares problem (Gaussian, eigenvalues 1/i, clients"
    yield "  alike), after its start is forgotten. Other spectra need other numbers of rounds: `--study STUDY.toml` takes"
    yield "  yours. Biased compressors with error feedback (top-k) have no such theory."
    yield "* The downlink is a broadcast of the iterate in 32 or 16 bits: compressing it further is not looked at."
    yield ""
    command = "mpi-fed model runs/does-it-pay/*.json"
    yield f"`{command}` prints the whole table; `--bandwidth`, `--latency` and `--clients` make it that of"
    yield "another machine."
