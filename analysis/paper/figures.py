"""The paper's figures: studies, titles, remarks, and the values read from the paper's pictures, to about 0.02."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

STUDIES = Path(__file__).resolve().parents[2] / "studies" / "paper"
ORDER = ("none", "partial-participation", "quantization", "bernoulli", "rand-h", "sketch")
"""The order of the compressors in `Figure.readings`."""


class Figure(NamedTuple):
    """A figure of the paper: its study, its title, and log10 of the final excess risks read from the figure."""

    study: str
    title: str
    readings: dict[str, tuple[float | None, ...]] = {}
    """Algorithm -> readings in ORDER."""
    remark: str = ""


SGD, MEMORY = "sgd", "control-variates"
OTHER_DATA = "The paper uses other data sets, so there is no reading to compare with."
FIGURES = (
    Figure(
        "single-p4-diagonal",
        "One client, eigenvalues i^-4, diagonal",
        {SGD: (-5.35, -4.51, -3.85, -4.56, -4.40, -1.90)},
        "On a diagonal H, masks act on single eigenvectors and increase the risk by at most the factor 1 + omega; the "
        "sketch spreads its noise over all directions, including those with tiny eigenvalues.",
    ),
    Figure(
        "single-p4-rotated",
        "One client, eigenvalues i^-4, rotated",
        {SGD: (-5.35, -4.47, -2.19, -2.03, -1.99, -1.91)},
        "On a rotated H, every compressor except partial participation spreads its noise over all directions. The "
        "expectations of sketch, Bernoulli and rand-h are nearly equal, so no order among them is claimed.",
    ),
    Figure(
        "single-p4-rotated-horizon",
        "One client, eigenvalues i^-4, rotated, step K^(-2/5)",
        {SGD: (-3.96, -3.96, -3.72, -3.52, -3.43, -3.62)},
        "A smaller step size reduces noise and increases bias, so the compressors' risks are closer together. Without "
        "compression, and with partial participation, nearly all of the risk is bias, which depends on the direction "
        "of w* relative to the random eigenvectors.",
    ),
    Figure(
        "single-p1-rotated",
        "One client, eigenvalues 1/i, rotated",
        {SGD: (-5.25, -4.22, -3.97, -3.70, -3.73, -3.77)},
        "No eigenvalue is tiny, so compressors with the same omega end within a factor of 3 of each other.",
    ),
    Figure(
        "ten-homogeneous",
        "Ten clients with the same distribution",
        {SGD: (-4.65, -3.79, -2.45, -2.37, -2.28, -2.34)},
        "As in the paper's code, sigma^2 = N, so the gain from N clients is not visible.",
    ),
    Figure(
        "ten-covariate-shift",
        "Ten clients with different covariances",
        {SGD: (-4.28, -3.18, -1.86, -1.77, -1.69, -1.68)},
        "In the limit, the covariate shift does not affect partial participation and no compression. Their risks "
        "differ from those of the homogeneous figure because the clients' smallest eigenvalues are smaller.",
    ),
    Figure(
        "optimum-shift-batch",
        "Ten clients with different optima, batches of 32",
        {SGD: (-3.19, -2.33, -1.61, -1.55, -1.49, -1.55), MEMORY: (None, -2.30, -2.03, -1.94, -1.92, -1.89)},
        "The paper draws its batches with replacement from a stored block, which adds noise. With fresh draws, as "
        "here, its curve without compression would end at about -3.5.",
    ),
    Figure(
        "optimum-shift-full",
        "Ten clients with different optima, true gradients",
        {SGD: (-4.55, -3.08, -1.81, -1.69, -1.73, -1.65), MEMORY: (-4.55,) * 6},
        "With true gradients, memories remove all of the compression's noise at w*, so every curve with memories ends "
        "where the one without compression does. The risk of that one is bias only, and depends on the drawn optima.",
    ),
    Figure("real-single", "Real data, one client", remark=OTHER_DATA),
    Figure("real-clustered", "Real data in ten clusters", remark=OTHER_DATA),
    Figure("clt", "The distribution of the averaged iterate"),
    Figure("ellipses", "The noise in two dimensions"),
)


def name(figure: Figure, variant: str | None) -> str:
    """Return the name of the figure's study, which is also the folder of its logs."""
    return f"{figure.study}-{variant}" if variant else figure.study


def reading(figure: Figure, algorithm: str, compressor: str) -> float | None:
    """Return the value read from the paper's figure, or None if the figure does not show it."""
    known = figure.readings.get(algorithm)
    return known[ORDER.index(compressor)] if known and compressor in ORDER else None
