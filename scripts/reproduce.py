"""The paper's experiments, run and written up: python scripts/reproduce.py [--paper-size] [--out DIR] [--page FILE]

Runs every study of studies/paper (the variant `small`, minutes on two cores, or with --paper-size as they are, hours),
analyses the logs, and writes the page FILE (docs/reproduction.md): figure by figure the final excess risk with its
standard error, the expectation by theory, and what the paper's picture shows. What is in DIR already is not run again.
DIR/report.html shows all figures together; each study's folder has its own.
The paper is Philippenko and Dieuleveut, arXiv 2308.01358; its curves were read off its pictures, to about 0.02.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mpi_fed.analysis import load
from mpi_fed.analysis.law import compare_law, draw
from mpi_fed.analysis.read import Log
from numpy.typing import NDArray

from mpi_fed.errors import InputError
from mpi_fed.study import configuration_from_tables, load_study
from mpi_fed.theory import limit_covariance, predict, seconds

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ROOT / "studies" / "paper"
ORDER = ("none", "partial-participation", "quantization", "bernoulli", "rand-h", "sketch")
THEORY_SECONDS = 200.0
"""An expectation at the paper's size that takes longer, about, is left out of the page of the small size."""


class Figure(NamedTuple):
    """A figure of the paper: its study, what it shows, and log10 of the final excess risks read off it."""

    study: str
    title: str
    readings: dict[str, tuple[float | None, ...]] = {}
    """Algorithm -> readings in ORDER."""
    remark: str = ""


SGD, MEMORY = "sgd", "control-variates"
FIGURES = (
    Figure(
        "single-p4-diagonal",
        "One client, eigenvalues i^-4, diagonal",
        {SGD: (-5.35, -4.51, -3.85, -4.56, -4.40, -1.90)},
        "On a diagonal H masks keep to the eigenvectors and cost no more than 1 + omega; the sketch spreads its noise "
        "over all directions, those with tiny eigenvalues, too.",
    ),
    Figure(
        "single-p4-rotated",
        "One client, eigenvalues i^-4, rotated",
        {SGD: (-5.35, -4.47, -2.19, -2.03, -1.99, -1.91)},
        "Rotated, every compressor but partial participation does. Sketch, Bernoulli and rand-h are nearly equal in "
        "expectation: no order among them is claimed.",
    ),
    Figure(
        "single-p4-rotated-horizon",
        "One client, eigenvalues i^-4, rotated, step K^(-2/5)",
        {SGD: (-3.96, -3.96, -3.72, -3.52, -3.43, -3.62)},
        "A smaller step buys less noise for more bias: the compressors move together. Without compression, and with "
        "partial participation, nearly all of the risk is bias, which depends on how the random rotation lies to w*; "
        "this project's rotation is another than the paper's, and both of these curves end 0.2 lower.",
    ),
    Figure(
        "single-p1-rotated",
        "One client, eigenvalues 1/i, rotated",
        {SGD: (-5.25, -4.22, -3.97, -3.70, -3.73, -3.77)},
    ),
    Figure(
        "ten-homogeneous",
        "Ten clients of one law",
        {SGD: (-4.65, -3.79, -2.45, -2.37, -2.28, -2.34)},
        "As in the paper's code sigma^2 = N, so that the gain of N clients does not show. Its rotation is another.",
    ),
    Figure(
        "ten-covariate-shift",
        "Ten clients, covariances of their own",
        {SGD: (-4.28, -3.18, -1.86, -1.77, -1.69, -1.68)},
        "Partial participation and no compression do not feel the shift in the limit; what is seen here is that the "
        "clients' smallest eigenvalues are smaller than in the homogeneous figure.",
    ),
    Figure(
        "optimum-shift-batch",
        "Ten clients, optima of their own, batches of 32",
        {SGD: (-3.19, -2.33, -1.61, -1.55, -1.49, -1.55), MEMORY: (None, -2.30, -2.03, -1.94, -1.92, -1.89)},
        "The paper's batches are drawn with replacement from a stored block, which adds noise: drawn fresh, as here, "
        "its curve without compression would end at about -3.5.",
    ),
    Figure(
        "optimum-shift-full",
        "Ten clients, optima of their own, true gradients",
        {SGD: (-4.55, -3.08, -1.81, -1.69, -1.73, -1.65), MEMORY: (-4.55,) * 6},
        "With true gradients memories remove all of compression's noise at w*: every curve with memories ends where "
        "the one without compression does.",
    ),
    Figure("real-single", "Real data, one client", remark="The paper's sets are others: no reading to compare."),
    Figure("real-clustered", "Real data in ten clusters", remark="The paper's sets are others: no reading to compare."),
    Figure("clt", "The law of the averaged iterate"),
    Figure("ellipses", "Two dimensions, where noise can be seen"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--paper-size", action="store_true", help="the studies as they are, not their variant `small`")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"), metavar="DIR")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reproduction.md", metavar="FILE")
    given = parser.parse_args()
    variant = None if given.paper_size else "small"
    lines = list(head(given.paper_size))
    for figure in FIGURES:
        folder = run(figure, variant, given.out)
        lines += section(figure, json.loads((folder / "analysis.json").read_text()), given.paper_size)
        if figure.study == "ellipses":
            lines += ellipses(folder, given.page.with_name("ellipses.png"))
    lines += scores([given.out / name(figure, variant) for figure in FIGURES])
    lines += traces()
    given.page.write_text("\n".join(lines) + "\n")
    print(f"page: {given.page}")
    folders = [str(given.out / name(figure, variant)) for figure in FIGURES]
    command = [sys.executable, "-m", "mpi_fed", "analyze", *folders, f"--out={given.out}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"report of all figures: {given.out / 'report.html'}")


def name(figure: Figure, variant: str | None) -> str:
    return f"{figure.study}-{variant}" if variant else figure.study


def run(figure: Figure, variant: str | None, out: Path) -> Path:
    """Run the study, or what is missing of it, and analyse it; the folder of its logs."""
    options = [f"--variant={variant}"] if variant else []
    path = STUDIES / f"{figure.study}.toml"
    clients = load_study(path, variant=variant).configurations[0].clients
    options += ["--ranks=1", "--jobs=2"] if clients == 1 else ["--ranks=2"]
    command = [sys.executable, "-m", "mpi_fed", "run", str(path), f"--out={out}", *options]
    print(shlex.join(["mpi-fed", *command[3:]]), flush=True)
    subprocess.run(command, check=True)
    return out / name(figure, variant)


def head(paper_size: bool) -> Iterator[str]:
    yield "# The paper's experiments, again"
    yield ""
    command = f"python scripts/reproduce.py{' --paper-size' if paper_size else ''}"
    yield from paragraph(
        f"Written by `{command}` from the logs of its runs; the studies with their sizes are in `studies/paper/`. The "
        'paper is Philippenko and Dieuleveut, "Compressed and distributed least-squares regression: convergence rates '
        'with applications to Federated Learning" (arXiv 2308.01358).'
    )
    yield from paragraph(
        "All risks are log10 of the final excess risk F(w_bar_K) - F(w*) of the averaged iterate. *measured*: the mean "
        "over repetitions, with its standard error carried over to the logarithm. *expected*: its expectation by "
        "theory at the same K (~: approximate). *ratio*, *z*: measured over expected, and their difference in standard "
        "errors. *paper*: read off its pictures, to about 0.02."
    )
    if not paper_size:
        yield from paragraph(
            "These are scale models, in 20 dimensions and fewer rounds, so it is not the measured numbers that compare "
            "with the paper's, but *expected at the paper's size*: theory for the study as it is, given where it takes "
            f"less than about {THEORY_SECONDS:.0f} s."
        )


def paragraph(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)
    yield ""


def section(figure: Figure, analysis: dict[str, Any], paper_size: bool) -> Iterator[str]:
    entries = analysis["configurations"]
    yield f"## {figure.title}"
    yield ""
    repetitions = {entry["repetitions"] for entry in entries}
    rounds = " and ".join(f"{k:,}" for k in sorted({entry["rounds"] for entry in entries}))
    first = entries[0]
    dimension = first["problem"].get("dimension")
    size = f"d = {dimension}, " if dimension else ""
    yield (
        f"`studies/paper/{figure.study}.toml`: {size}N = {first['clients']}, K = {rounds}, "
        f"{', '.join(map(str, sorted(repetitions)))} repetitions."
    )
    yield ""
    expected = {} if paper_size else paper_sized(figure)
    yield "| configuration | measured | expected | ratio | z | expected at the paper's size | paper |"
    yield "|---|---|---|---|---|---|---|"
    last = max(entry["rounds"] for entry in entries)
    for entry in entries:
        key = entry["algorithm"]["kind"], entry["compressor"]["kind"]
        at_end = entry["rounds"] == last
        yield row(entry, expected.get(key) if at_end else None, reading(figure, *key) if at_end else None)
    yield ""
    if figure.remark:
        yield from paragraph(figure.remark)
    invalid = [f"{entry['label']}: {'; '.join(entry['reasons'])}" for entry in entries if entry["verdict"] != "VALID"]
    if invalid:
        yield from paragraph(f"INVALID: {'. '.join(invalid)}.")
    if figure.study == "clt":
        yield from laws(entries)


def row(entry: dict[str, Any], paper_sized: str | None, read: float | None) -> str:
    mean, error = entry["excess_risk_averaged"]["mean"], entry["excess_risk_averaged"]["standard_error"]
    measured = "diverged" if mean is None else logarithm(mean)
    if mean and error:
        measured += f" +-{error / mean / math.log(10):.2f}"
    expected = entry["predicted_excess_risk_averaged"]
    about = "~" if entry["prediction_kind"] == "approximate" else ""
    cells = [
        entry["label"],
        measured,
        "-" if expected is None else about + logarithm(expected),
        "-" if entry["variance_ratio"] is None else f"{entry['variance_ratio']:.2f}",
        "-" if entry["z"] is None else f"{entry['z']:.1f}",
        paper_sized or "-",
        "-" if read is None else f"{read:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def logarithm(value: float) -> str:
    return f"{math.log10(value):.2f}" if value > 0 else "0"


def reading(figure: Figure, algorithm: str, compressor: str) -> float | None:
    known = figure.readings.get(algorithm)
    return known[ORDER.index(compressor)] if known and compressor in ORDER else None


def paper_sized(figure: Figure) -> dict[tuple[str, str], str]:
    """What theory expects of the study as it is: (algorithm, compressor) -> text, at its largest K."""
    if not figure.readings:
        return {}
    study = load_study(STUDIES / f"{figure.study}.toml")
    last = max(configuration.rounds for configuration in study.configurations)
    found = {}
    for configuration in study.configurations:
        if configuration.rounds < last or seconds(configuration) > THEORY_SECONDS:
            continue
        prediction = predict(configuration, log_rounds=[last])
        value = prediction.excess_risk_averaged and prediction.excess_risk_averaged[-1]
        about = "~" if prediction.prediction_kind == "approximate" else ""
        if value:
            found[configuration.algorithm.kind, configuration.compressor.kind] = about + logarithm(value)
    return found


def laws(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Over repetitions, 2K times the excess risk against its limit law."""
    yield from paragraph(
        "2K times the excess risk has in the limit the law of a sum of weighted chi squares (*limit*, by theory), with "
        "mean Tr(C_ania H^-1). Kolmogorov and Smirnov's distance and p over the repetitions, and quantiles:"
    )
    yield "| compressor | mean | limit trace | distance | p | 10 % | limit | 50 % | limit | 90 % | limit |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for entry in entries:
        log = load(entry["file"])
        scaled = 2 * log.rounds * log.excess_risk_averaged[log.complete, -1]
        prediction = predict(configuration_from_tables(log.configuration), log_rounds=[log.rounds])
        assert prediction.limit_weights is not None
        assert prediction.limit_trace is not None
        distance, p = compare_law(scaled, prediction.limit_weights)
        limit = draw(prediction.limit_weights)
        pairs = [f"{np.quantile(scaled, q):.1f} | {np.quantile(limit, q):.1f}" for q in (0.1, 0.5, 0.9)]
        numbers = [f"{scaled.mean():.2f}", f"{prediction.limit_trace:.2f}", f"{distance:.3f}", f"{p:.2g}", *pairs]
        yield f"| {entry['label']} | {' | '.join(numbers)} |"
    yield ""


def ellipses(folder: Path, picture: Path) -> Iterator[str]:
    """Where the averaged iterates lie, beside the ellipse that theory has for them; the picture, too."""
    logs = [load(path) for path in sorted(folder.glob("*.h5"))]
    logs.sort(key=lambda log: (log.configuration["problem"]["rotation"] != "diagonal", drawn_at(log)))
    clouds = [cloud(log) for log in logs]
    draw_clouds(clouds, picture)
    yield from paragraph(
        "sqrt(K) (w_bar_K - w*) tends in law to N(0, H^-1 C_ania H^-1). Below, its covariance over repetitions (the "
        f"entries 11, 12, 22) beside theory's, and the share of repetitions within the ellipse that holds {INSIDE:.0%} "
        "of the law, with its standard error. On a diagonal H masks leave the ellipse's shape alone; rotated, those "
        "of rand-h and Bernoulli put noise where H has little, and H^-1 stretches it there."
    )
    yield f"![Scatter of the averaged iterates of six compressors, with theory's ellipses]({picture.name})"
    yield ""
    yield "| configuration | measured | theory | within |"
    yield "|---|---|---|---|"
    for one in clouds:
        measured, expected = (
            ", ".join(f"{matrix[j, k]:.2f}" for j, k in ((0, 0), (0, 1), (1, 1)))
            for matrix in (one.points.T @ one.points / len(one.points), one.covariance)
        )
        inside = np.einsum("nj,jk,nk->n", one.points, np.linalg.inv(one.covariance), one.points) <= RADIUS**2
        error = math.sqrt(INSIDE * (1 - INSIDE) / len(inside))
        yield f"| {one.label} | {measured} | {expected} | {inside.mean():.3f} +-{error:.3f} |"
    yield ""


INSIDE = 0.9
RADIUS = math.sqrt(-2 * math.log(1 - INSIDE))
"""A standard normal vector of the plane is within it with probability INSIDE."""


class Cloud(NamedTuple):
    """sqrt(K) (w_bar_K - w*) over repetitions, (R, 2), and the covariance of its limit law."""

    label: str
    points: NDArray[np.float64]
    covariance: NDArray[np.float64]


def drawn_at(log: Log) -> int:
    return ORDER.index(log.configuration["compressor"]["kind"])


def cloud(log: Log) -> Cloud:
    configuration = configuration_from_tables(log.configuration)
    noise, optimum, averages = limit_covariance(configuration), log.dataset("optimum"), log.final_average()
    assert noise is not None
    assert averages is not None
    inverse = np.linalg.inv(configuration.problem.prepare(log.clients).covariance.dense)
    points = math.sqrt(log.rounds) * (averages[log.complete] - optimum)
    return Cloud(log.label, points, inverse @ noise @ inverse)


def draw_clouds(clouds: Sequence[Cloud], file: Path) -> None:
    """A row for each problem, a column for each compressor, all to one scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    columns = len(ORDER)
    canvas = Canvas(figsize=(11, 4.2), layout="constrained")
    grid = canvas.subplots(len(clouds) // columns, columns, sharex=True, sharey=True)
    angles = np.linspace(0, 2 * math.pi, 200)
    circle = RADIUS * np.stack([np.cos(angles), np.sin(angles)])
    for axes, one in zip(grid.flat, clouds, strict=True):
        axes.scatter(*one.points.T, s=3, color="#0072B2", alpha=0.5, linewidths=0)
        axes.plot(*(np.linalg.cholesky(one.covariance) @ circle), color="#D55E00", linewidth=1.5)
        axes.set_aspect("equal")
        axes.set_title(one.label.replace(" rotation", "\nrotation"), fontsize=8)
    reach = 3.2 * math.sqrt(max(one.covariance.max() for one in clouds))
    grid.flat[0].set(xlim=(-reach, reach), ylim=(-reach, reach))
    FigureCanvasAgg(canvas)
    canvas.savefig(file, dpi=110)


def scores(folders: Sequence[Path]) -> Iterator[str]:
    """All z-scores against exact predictions, together."""
    entries = [e for folder in folders for e in json.loads((folder / "analysis.json").read_text())["configurations"]]
    exact = [e["z"] for e in entries if e["prediction_kind"] == "exact" and e["z"] is not None]
    p_values = [e["p_value"] for e in entries if e["prediction_kind"] == "exact" and e["p_value"] is not None]
    invalid = sum(e["verdict"] != "VALID" for e in entries)
    yield "## All together"
    yield ""
    text = f"{len(entries)} configurations, {invalid} of them INVALID. "
    if exact:
        text += (
            f"{len(exact)} stand against an exact expectation: mean z {np.mean(exact):.2f}, mean z^2 "
            f"{np.mean(np.square(exact)):.2f} (z of few repetitions of a skewed quantity is no normal score; "
            f"docs/analysis.md tells of the test by p), smallest p {min(p_values):.2g}."
        )
    yield from paragraph(text)


def traces() -> Iterator[str]:
    """The figures that are theory alone."""
    for file, key, title in (
        ("trace-omega", "omega", "The trace against omega, three preprocessings"),
        ("trace-dimension", "dimension", "The trace against the dimension"),
    ):
        study = load_study(STUDIES / f"{file}.toml")
        yield f"## {title}"
        yield ""
        yield f"`mpi-fed predict studies/paper/{file}.toml`: Tr(C_ania H^-1), nothing is run."
        yield ""
        table: dict[str, dict[str, str]] = {}
        for configuration in study.configurations:
            prediction = predict(configuration, log_rounds=[1])
            problem, compressor = configuration.problem, configuration.compressor
            if key == "omega":
                where, column = f"{problem.model_dump()['preprocessing']}, {compressor.kind}", f"{prediction.omega:.3g}"
            else:
                where, column = compressor.kind, str(prediction.dimension)
            trace = prediction.limit_trace
            table.setdefault(where, {})[column] = "-" if trace is None else f"{trace:.3g}"
        if key == "omega":
            yield "| preprocessing, compressor | omega: trace |"
            yield "|---|---|"
            for where, cells in table.items():
                yield f"| {where} | {', '.join(f'{column}: {trace}' for column, trace in cells.items())} |"
        else:
            columns = list(dict.fromkeys(column for cells in table.values() for column in cells))
            yield f"| compressor | {' | '.join(f'd = {column}' for column in columns)} |"
            yield f"|---|{'---|' * len(columns)}"
            for where, cells in table.items():
                yield f"| {where} | {' | '.join(cells.get(column, '-') for column in columns)} |"
        yield ""


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"reproduce: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
