"""Compare averaged iterates in two dimensions with the predicted ellipses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_fed.analysis import read_log
from mpi_fed.log import schema
from mpi_fed.log.reader import Log
from mpi_fed.study.load import configuration_from_tables
from mpi_fed.theory import limit_covariance

from .figures import ORDER
from .page import paragraph

INSIDE = 0.9
"""Probability of the ellipse."""
RADIUS = math.sqrt(-2 * math.log(1 - INSIDE))
"""A standard normal vector in the plane is shorter than this with probability INSIDE."""


class Cloud(NamedTuple):
    """The scaled errors of a configuration's averaged iterates, and their limit covariance."""

    label: str
    points: NDArray[np.float64]  # (R, 2), sqrt(K) (w_bar_K - w*) of each repetition
    covariance: NDArray[np.float64]  # (2, 2), predicted


def ellipses(folder: Path, picture: Path) -> Iterator[str]:
    """Draw the picture, and yield the text and the table on the averaged iterates and their ellipses."""
    logs = [read_log(path) for path in sorted(folder.glob("*.h5"))]
    logs.sort(key=lambda log: (log.configuration["problem"]["rotation"] != "diagonal", drawn_at(log)))
    clouds = [cloud(log) for log in logs]
    draw_clouds(clouds, picture)
    yield from paragraph(
        "sqrt(K) (w_bar_K - w*) converges in distribution to N(0, H^-1 C_ania H^-1). The table has its covariance over "
        "repetitions (the entries 11, 12, 22), its covariance by theory, and the share of repetitions within the "
        f"ellipse that contains {INSIDE:.0%} of the limit distribution, with its standard error. On a diagonal H, "
        "masks do not change the ellipse's shape; on a rotated H, the masks of rand-h and Bernoulli add noise in "
        "directions in which H is small, and H^-1 amplifies it there."
    )
    yield f"![Scatter of the averaged iterates of six compressors, with theory's ellipses]({picture.name})"
    yield ""
    yield "| configuration | measured | theory | within |"
    yield "|---|---|---|---|"
    for each in clouds:
        measured, expected = (
            ", ".join(f"{matrix[j, k]:.2f}" for j, k in ((0, 0), (0, 1), (1, 1)))
            for matrix in (each.points.T @ each.points / len(each.points), each.covariance)
        )
        inside = np.einsum("nj,jk,nk->n", each.points, np.linalg.inv(each.covariance), each.points) <= RADIUS**2
        error = math.sqrt(INSIDE * (1 - INSIDE) / len(inside))
        yield f"| {each.label} | {measured} | {expected} | {inside.mean():.3f} +-{error:.3f} |"
    yield ""


def drawn_at(log: Log) -> int:
    """Return the position of a log's compressor in the picture."""
    return ORDER.index(log.configuration["compressor"]["kind"])


def cloud(log: Log) -> Cloud:
    """Return the cloud of a log that keeps its averaged iterates."""
    configuration = configuration_from_tables(log.configuration)
    noise, optimum, averages = limit_covariance(configuration), log.dataset(schema.OPTIMUM.name), log.final_average()
    assert noise is not None
    assert optimum is not None
    assert averages is not None
    inverse = np.linalg.inv(configuration.problem.prepare(log.clients).covariance.dense)
    points = math.sqrt(log.rounds) * (averages[log.complete] - optimum)
    return Cloud(log.label, points, inverse @ noise @ inverse)


def draw_clouds(clouds: Sequence[Cloud], file: Path) -> None:
    """Draw a row for each problem and a column for each compressor, all on the same scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    columns = len(ORDER)
    canvas = Canvas(figsize=(11, 4.2), layout="constrained")
    grid = canvas.subplots(len(clouds) // columns, columns, sharex=True, sharey=True)
    angles = np.linspace(0, 2 * math.pi, 200)
    circle = RADIUS * np.stack([np.cos(angles), np.sin(angles)])
    for axes, each in zip(grid.flat, clouds, strict=True):
        axes.scatter(*each.points.T, s=3, color="#0072B2", alpha=0.5, linewidths=0)
        axes.plot(*(np.linalg.cholesky(each.covariance) @ circle), color="#D55E00", linewidth=1.5)
        axes.set_aspect("equal")
        axes.set_title(each.label.replace(" rotation", "\nrotation"), fontsize=8)
    reach = 3.2 * math.sqrt(max(each.covariance.max() for each in clouds))
    grid.flat[0].set(xlim=(-reach, reach), ylim=(-reach, reach))
    FigureCanvasAgg(canvas)
    canvas.savefig(file, dpi=110)
