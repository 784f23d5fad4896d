"""Where averaged iterates of two dimensions lie, beside the ellipse that theory has for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_fed.analysis import load
from mpi_fed.log import schema
from mpi_fed.log.reader import Log
from mpi_fed.study.load import configuration_from_tables
from mpi_fed.theory import limit_covariance

from .figures import ORDER
from .page import paragraph

INSIDE = 0.9
RADIUS = math.sqrt(-2 * math.log(1 - INSIDE))
"""A standard normal vector of the plane is within it with probability INSIDE."""


class Cloud(NamedTuple):
    """sqrt(K) (w_bar_K - w*) over repetitions, (R, 2), and the covariance of its limit law."""

    label: str
    points: NDArray[np.float64]
    covariance: NDArray[np.float64]


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


def drawn_at(log: Log) -> int:
    return ORDER.index(log.configuration["compressor"]["kind"])


def cloud(log: Log) -> Cloud:
    configuration = configuration_from_tables(log.configuration)
    noise, optimum, averages = limit_covariance(configuration), log.dataset(schema.OPTIMUM.name), log.final_average()
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
