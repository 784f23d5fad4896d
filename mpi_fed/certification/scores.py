"""How far a mean of draws is from what it should be, as a score that holds without any central limit.

For M independent draws of range R and empirical variance v whose mean is t away from the expectation, score z is the
larger of two: t = R z / (2 sqrt M) (Hoeffding, 1963) and t = z sqrt(v/M) + 7 R z^2/(6 (M-1)) (Maurer and Pontil,
"Empirical Bernstein bounds and sample variance penalization", COLT 2009, theorem 4, with ln(2/delta) = z^2/2). Either
is exceeded with probability 2 exp(-z^2/2) and 4 exp(-z^2/2) at most, rare events included. For many draws without
rare events z is the usual number of standard errors. R is the range that was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

LIMIT = 8.0
"""Scores above this fail."""
SINGLE_RATE = 6 * math.exp(-(LIMIT**2) / 2)
"""The probability that one right comparison exceeds the limit is at most this: 7.6e-14."""

_WORST = 1e9  # what is no number fails, and JSON has no infinity

Array = NDArray[np.float64]


def score(distance: ArrayLike, variance: ArrayLike, width: ArrayLike, draws: int) -> Array:
    """z of a mean of `draws` draws that lies `distance` >= 0 off; `variance` and `width` (range) are of one draw."""
    t, v = np.asarray(distance, float), np.asarray(variance, float)
    wide = np.maximum(np.maximum(width, 2 * np.sqrt(v)), t)  # no law within [a, a + R] has a larger deviation than R/2
    hoeffding = 2 * t * math.sqrt(draws) / np.where(t > 0, wide, 1.0)
    linear, square = np.sqrt(v / draws), 7 * wide / (6 * (draws - 1))
    bernstein = 2 * t / (linear + np.sqrt(linear**2 + 4 * square * t) + (t == 0))
    return np.maximum(hoeffding, bernstein)


@dataclass
class Findings:
    """Scores by subject, how many comparisons were made, and a sentence for each that failed."""

    largest: dict[str, float] = field(default_factory=dict)
    comparisons: int = 0
    reasons: list[str] = field(default_factory=list)

    def compare(self, subject: str, what: str, scores: ArrayLike) -> None:
        """Enter scores of one kind; report the worst of those that fail."""
        finite: Array = np.nan_to_num(np.asarray(scores, float), nan=_WORST, posinf=_WORST)
        worst = int(np.argmax(finite))
        z = float(finite.flat[worst])
        self.comparisons += finite.size
        self.largest[subject] = max(self.largest.get(subject, 0.0), z)
        if z > LIMIT:
            place = f" at {', '.join(map(str, np.unravel_index(worst, finite.shape)))}" if finite.size > 1 else ""
            self.reasons.append(f"{what}{place} (z = {z:.3g})")

    def require(self, holds: bool, what: str) -> bool:
        """Enter a fact that must hold with certainty."""
        if not holds:
            self.reasons.append(what)
        return holds

    def include(self, other: Findings, place: str) -> None:
        """Take over the findings at a place."""
        self.comparisons += other.comparisons
        self.reasons += [f"{place}: {reason}" for reason in other.reasons]
        for subject, z in other.largest.items():
            self.largest[subject] = max(self.largest.get(subject, 0.0), z)
