"""The paper's figures: their studies, titles, remarks, and what was read off its pictures, to about 0.02."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

STUDIES = Path(__file__).resolve().parents[2] / "studies" / "paper"
ORDER = ("none", "partial-participation", "quantization", "bernoulli", "rand-h", "sketch")


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
        "partial participation, nearly all of the risk is bias, which depends on how the random rotation lies to w*.",
    ),
    Figure(
        "single-p1-rotated",
        "One client, eigenvalues 1/i, rotated",
        {SGD: (-5.25, -4.22, -3.97, -3.70, -3.73, -3.77)},
        "No eigenvalue is tiny, so that compressors of one omega end within a factor of 3 of each other.",
    ),
    Figure(
        "ten-homogeneous",
        "Ten clients of one law",
        {SGD: (-4.65, -3.79, -2.45, -2.37, -2.28, -2.34)},
        "As in the paper's code sigma^2 = N, so that the gain of N clients does not show.",
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
        "the one without compression does. That one is bias alone, and depends on the optima that were drawn.",
    ),
    Figure("real-single", "Real data, one client", remark="The paper's sets are others: no reading to compare."),
    Figure("real-clustered", "Real data in ten clusters", remark="The paper's sets are others: no reading to compare."),
    Figure("clt", "The law of the averaged iterate"),
    Figure("ellipses", "Two dimensions, where noise can be seen"),
)


def name(figure: Figure, variant: str | None) -> str:
    return f"{figure.study}-{variant}" if variant else figure.study


def reading(figure: Figure, algorithm: str, compressor: str) -> float | None:
    known = figure.readings.get(algorithm)
    return known[ORDER.index(compressor)] if known and compressor in ORDER else None
