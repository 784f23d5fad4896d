"""Scores of the distance between a mean of draws and its expectation, valid without a central limit theorem.

For M independent draws of range R and empirical variance v whose mean is at a distance t from the expectation, the
score z is the larger solution of two equations: t = R z / (2 sqrt M) (Hoeffding, 1963) and
t = z sqrt(v/M) + 7 R z^2/(6 (M-1)) (Maurer and Pontil, "Empirical Bernstein bounds and sample variance penalization",
COLT 2009, theorem 4, with ln(2/delta) = z^2/2). The distance exceeds the first right side with probability at most
2 exp(-z^2/2), and the second with probability at most 4 exp(-z^2/2), even with rare events. For many draws without rare
events z is the usual number of standard errors. R is the observed range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

LIMIT = 8.0
"""Score above which a comparison fails."""
SINGLE_RATE = 6 * math.exp(-(LIMIT**2) / 2)
"""Upper bound on the probability that one correct comparison exceeds the limit: 7.6e-14."""

_WORST = 1e9  # score of NaN, which must fail; JSON has no infinity

Array = NDArray[np.float64]


def score(distance: ArrayLike, variance: ArrayLike, width: ArrayLike, draws: int) -> Array:
    """Return the score z of a mean of `draws` draws at `distance` >= 0 from its expectation.

    `variance` and `width` are the variance and the range of one draw. All arrays are broadcast.
    """
    t, v = np.asarray(distance, float), np.asarray(variance, float)
    wide = np.maximum(np.maximum(width, 2 * np.sqrt(v)), t)  # numbers within [a, a + R] deviate by at most R/2
    hoeffding = 2 * t * math.sqrt(draws) / np.where(t > 0, wide, 1.0)
    linear, square = np.sqrt(v / draws), 7 * wide / (6 * (draws - 1))
    bernstein = 2 * t / (linear + np.sqrt(linear**2 + 4 * square * t) + (t == 0))
    larger: Array = np.maximum(hoeffding, bernstein)
    return larger


@dataclass
class Findings:
    """Largest score of each subject, the number of comparisons, and a sentence for each failed comparison."""

    largest: dict[str, float] = field(default_factory=dict)
    comparisons: int = 0
    reasons: list[str] = field(default_factory=list)

    def compare(self, subject: str, failure: str, scores: ArrayLike) -> None:
        """Enter scores of a subject. If the largest score exceeds the limit, add the sentence `failure` as a reason."""
        finite: Array = np.nan_to_num(np.asarray(scores, float), nan=_WORST, posinf=_WORST)
        worst = int(np.argmax(finite))
        z = float(finite.flat[worst])
        self.comparisons += finite.size
        self.largest[subject] = max(self.largest.get(subject, 0.0), z)
        if z > LIMIT:
            place = f" at {', '.join(map(str, np.unravel_index(worst, finite.shape)))}" if finite.size > 1 else ""
            self.reasons.append(f"{failure}{place} (z = {z:.3g})")

    def require(self, holds: bool, failure: str) -> bool:
        """Add the sentence `failure` as a reason unless a property holds, which is certain to hold; return `holds`."""
        if not holds:
            self.reasons.append(failure)
        return holds

    def include(self, other: Findings, place: str) -> None:
        """Add other findings, with their place at the beginning of each sentence."""
        self.comparisons += other.comparisons
        self.reasons += [f"{place}: {reason}" for reason in other.reasons]
        for subject, z in other.largest.items():
            self.largest[subject] = max(self.largest.get(subject, 0.0), z)
