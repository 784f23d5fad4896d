"""Print the document of `mpi-fed scaling` as tables, for a terminal or a text file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any

from ...benchmark.compare import SINGLE
from ...benchmark.table import console, number
from ...engine.phases import PHASES
from .document import INVALID, Agreement, Estimate, GroupEntry, PointEntry, Scaling
from .groups import STRONG, WEAK
from .iterates import DIFFER, EQUAL, ROUNDING, UNKNOWN

Cells = Callable[[PointEntry, bool], list[str]]
"""A function of (point, brief) that returns the cells of a point; without intervals and errors if `brief`."""

TITLES = {
    STRONG: "STRONG SCALING: the same clients on more ranks",
    WEAK: "WEAK SCALING: the same number of clients on each rank, so more clients on more ranks",
}
WHERE = "Where a round's time goes, us"
TIMES = ("clients", "hosts", "cores", "round, us", "speed-up", "efficiency, %")
CROWDED = "*"
UNBOUNDED = 1000
"""Characters in a line of a file, more than any table needs."""


def print_tables(document: Scaling, file: IO[str] | None = None) -> None:
    """Print the times and the phases of each kind of scaling, then remarks, and the verdict last.

    A terminal that is too narrow shows intervals only for speed-ups.
    """
    out = console() if file is None else _plain(file)
    narrow = False
    for kind, heading in TITLES.items():
        groups = [group for group in document.groups if group.kind == kind]
        if groups:
            for title, headings, cells in (heading, TIMES, times), (WHERE, (*PHASES, "sum"), path):
                whole, brief = (_table(groups, title, headings, cells, brief) for brief in (False, True))
                fits = out.measure(whole, options=out.options.update(width=UNBOUNDED)).maximum <= out.width
                narrow |= not fits
                out.print(whole if fits else brief)
    if narrow:
        out.print("Intervals and errors are left out, as the lines are too short for them.", soft_wrap=True)
    for line in remarks(document):
        out.print(line, soft_wrap=True)


def _plain(file: IO[str]) -> Any:
    from rich.console import Console

    return Console(file=file, width=UNBOUNDED, highlight=False, markup=False, emoji=False)


def _table(groups: list[GroupEntry], title: str, headings: tuple[str, ...], cells: Cells, brief: bool) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("configuration", overflow="fold", min_width=12)
    for heading in ("ranks", *headings):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        for i, point in enumerate(group.points):
            ranks = f"{point.ranks:,}{CROWDED if point.more_ranks_than_cores else ' '}"
            table.add_row("" if i else heading_of(group), ranks, *cells(point, brief))
    return table


def heading_of(group: GroupEntry) -> str:
    """Return the heading of a group, such as `rand-h h=62, dimension = 100`."""
    return ", ".join(text for text in (group.name, group.title) if text)


def times(point: PointEntry, brief: bool) -> list[str]:
    """Return clients, hosts and cores, and time, speed-up and efficiency with their intervals."""
    where = ["-" if count is None else f"{count:,}" for count in (point.clients, point.hosts, point.cores)]
    microseconds, percent = point.seconds_a_round.times(1e6), point.efficiency.times(100)
    if brief:
        return [*where, number(microseconds.estimate), spanned(point.speed_up), number(percent.estimate)]
    return [*where, spanned(microseconds), spanned(point.speed_up), spanned(percent)]


def spanned(value: Estimate) -> str:
    """Return an estimate with its interval, such as `1.88 (1.85 to 1.91)`."""
    if value.low is None or value.high is None:
        return number(value.estimate)
    return f"{number(value.estimate)} ({number(value.low)} to {number(value.high)})"


def path(point: PointEntry, brief: bool) -> list[str]:
    """Return each phase's contribution to the round, with its standard error unless `brief`, and the sum."""
    if point.phases is None:
        return ["-"] * (len(PHASES) + 1)
    phases = [point.phases[name] for name in PHASES]
    texts = [_with_error(phase.path, None if brief else phase.standard_error) for phase in phases]
    return [*texts, number(1e6 * sum(phase.path for phase in phases))]


def _with_error(seconds: float, error: float | None) -> str:
    return number(1e6 * seconds) + ("" if error is None else f" ±{number(1e6 * error, 2)}")


def remarks(document: Scaling) -> Iterator[str]:
    """Yield the meaning of the columns, warnings about single rows, and the verdict as the last line."""
    points = [point for group in document.groups for point in group.points]
    yield (
        "Speed-up: clients served a second, divided by those served on the fewest ranks; efficiency: speed-up a rank, "
        "divided by that on the fewest ranks. "
        f"Each interval holds with {100 * document.confidence:.0f}% confidence."
    )
    yield (
        "Phases, ± a standard error, are timed in every 251st round, with a barrier after wait: gradient, encode and "
        "wait (for the slowest rank) are means over ranks; uplink, decode and update are times of the slowest rank; "
        "downlink is the time of the fastest rank, which is the root if w is broadcast."
    )
    if any(point.uncertainty == SINGLE for point in points):
        yield (
            "Some numbers of ranks have a single launch: intervals cover its repetitions, and how much launches differ "
            "is unknown; run the study three times, each with its own --out, and give all folders."
        )
    if any(point.more_ranks_than_cores for point in points):
        yield f"{CROWDED} More ranks than cores: times measure the machine's scheduling, not scaling."
    if any(point.more_ranks_than_cores is None for point in points):
        yield "Some logs do not contain the cores on which their ranks ran: there may have been more ranks than cores."
    commits = sorted({commit for group in document.groups for commit in group.git_commits})
    if len(commits) > 1:
        texts = ", ".join(_short(commit) for commit in commits)
        yield f"Logs come from several commits; check that none of them changed the work of a round: {texts}"
    for group in document.groups:
        yield from (f"{group.kind}, {heading_of(group)}, {text}" for text in _doubts(group.points))
    yield from _agreements(document.groups)
    if document.left_out:
        yield f"Left out, as no log with another number of ranks matches: {', '.join(document.left_out)}"
    yield document.verdict + (": iterates that must be equal differ" if document.verdict == INVALID else "")


def _short(commit: str) -> str:
    """Return the first digits of a commit, and "-dirty" if there were uncommitted changes."""
    name, dash, dirty = commit.partition("-")
    return name[:12] + dash + dirty


def _doubts(points: list[PointEntry]) -> Iterator[str]:
    for point in points:
        ranks = f"{point.ranks} rank{'s' * (point.ranks != 1)}"
        if point.best_efficiency < 1:
            most = f"{100 * point.best_efficiency:.3g}%"
            yield f"{ranks}: clients do not divide evenly, so the efficiency is at most {most}"
        if point.restarts:
            yield f"{ranks}: the run was resumed; its times are valid only if each part ran on {ranks}"


SENTENCES = {
    EQUAL: "Iterates are equal bit for bit on every number of ranks",
    ROUNDING: "Iterates differ by rounding, which is allowed where MPI adds floats",
    DIFFER: "INVALID: iterates differ between numbers of ranks, on a route on which they must be equal",
    UNKNOWN: 'Iterates could not be compared (log.iterates = "last" keeps them)',
}
"""A sentence for each verdict on iterates."""


def _agreements(groups: list[GroupEntry]) -> Iterator[str]:
    """Yield a sentence for each verdict on iterates, with the configurations that it applies to."""
    pairs = [(group, group.iterates) for group in groups if group.iterates]
    for verdict, sentence in SENTENCES.items():
        texts = [heading_of(group) + _distance(iterates) for group, iterates in pairs if iterates.verdict == verdict]
        if texts:
            yield f"{sentence}: {'; '.join(texts)}"


def _distance(iterates: Agreement) -> str:
    far = iterates.difference
    return f" (by up to {far:.1g} of the largest coordinate)" if far else ""
