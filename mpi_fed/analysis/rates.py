"""The statistics of a configuration's repetitions: means, slopes, comparison with a prediction, bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .document import Bias, Decomposition, Slope

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
"""Confidence of a slope's interval."""
WINDOW = 10
"""A slope is fitted over the rounds K / WINDOW to K: the last decade."""
FEWEST = 3
"""With fewer repetitions nothing is said of uncertainty by resampling them."""
RESAMPLES = 1000
"""Bootstrap resamples of the repetitions, the same ones for all configurations, since these see the same data."""
FEWEST_POINTS = 3
"""A slope needs so many log points in its window."""
ROUNDING = 1e-6
"""A relative difference between measurement and prediction that float32 messages can cause; it is none."""


@dataclass(frozen=True)
class Comparison:
    """A mean beside its prediction: z = (mean - predicted) / standard error, and the two-sided p-value."""

    z: float | None
    p_value: float | None


def mean_and_error(values: Floats) -> tuple[float | None, float | None]:
    """The mean and its standard error, from values of shape (R); None where R does not allow them."""
    from scipy import stats

    mean = float(np.mean(values)) if len(values) else None
    return mean, float(stats.sem(values)) if len(values) > 1 else None


def fit_slope(
    rounds: NDArray[np.int64], risks: Floats, predicted: Floats | None = None, first_round: float | None = None
) -> Slope | None:
    """The log-log slope over `first_round` to K, else the last decade, from risks of shape (R, P) at rounds (P).

    The points of one curve are strongly correlated (w_bar_2k shares half of its terms with w_bar_k), so that
    a regression's own error bar would be far too small. Each repetition is fitted on its own, by least
    squares, and the R independent slopes give the mean and Student's t-interval. One repetition has no
    interval. None where the window has fewer than three points or a risk that is not positive.
    """
    from scipy import stats

    window = (rounds >= (rounds[-1] / WINDOW if first_round is None else first_round)) & (rounds > 0)
    if window.sum() < FEWEST_POINTS or not len(risks) or not (risks[:, window] > 0).all():
        return None
    x = np.log(rounds[window])
    slopes = np.polyfit(x, np.log(risks[:, window]).T, 1)[0]
    low = high = None
    if len(slopes) > 1:
        half = stats.t.ppf((1 + CONFIDENCE) / 2, len(slopes) - 1) * stats.sem(slopes)
        low, high = float(slopes.mean() - half), float(slopes.mean() + half)
    curve = None if predicted is None else predicted[window]
    theory = None if curve is None or not (curve > 0).all() else float(np.polyfit(x, np.log(curve), 1)[0])
    first, last = (int(edge) for edge in rounds[window][[0, -1]])
    return Slope(
        estimate=float(slopes.mean()),
        low=low,
        high=high,
        confidence=CONFIDENCE,
        first_round=first,
        last_round=last,
        predicted=theory,
    )


def compare(risks: Floats, predicted: float | None, relative_error: float = 0.0, floor: float = 0.0) -> Comparison:
    """Risks of shape (R) against the predicted mean and its relative standard error.

    A difference of at most `floor` is rounding and so none.

    z = (mean - predicted) / se is the plain score. Excess risks are skewed (a weighted sum of chi squares in
    the limit), which makes Student's t reject far too often on the low side. The p-value therefore comes from
    the cube root, which is nearly normal for such sums (Wilson and Hilferty, 1931): the delta method's score
    t = 3 ((mean / predicted)^(1/3) - 1) / sqrt((se / mean)^2 + relative_error^2), against Student's t with
    R - 1 degrees of freedom.
    """
    from scipy import stats

    mean, error = mean_and_error(risks)
    if mean is None or error is None or predicted is None:
        return Comparison(None, None)
    rounding = max(ROUNDING * abs(predicted), floor)
    z = (mean - predicted) / error if error > rounding else None
    if abs(mean - predicted) <= rounding:
        return Comparison(z, 1.0)
    spread = np.hypot(error / mean, relative_error) if mean > 0 else 0.0
    if spread == 0 or predicted <= 0:
        return Comparison(z, 0.0)
    t = 3 * (np.cbrt(mean / predicted) - 1) / spread
    return Comparison(z, float(2 * stats.t.sf(abs(t), len(risks) - 1)))


def measure_bias(errors: Floats) -> Bias:
    """How far w_bar_K - w*, of shape (R, d), is from mean zero.

    norm_ratio = ||mean error|| / sqrt(mean ||error||^2): about 1/sqrt(R) without bias, 1 where all is bias.
    z = sum_{r<s} <e_r, e_s> / sqrt(sum_{r<s} <e_r, e_s>^2): mean 0 and variance 1 exactly, for any R and d,
    where the errors are independent and symmetric about 0; large and positive under bias.
    """
    if len(errors) < 2:
        return Bias(None, None)
    gram = errors @ errors.T
    pairs = gram[np.triu_indices(len(errors), 1)]
    square, spread = float(np.trace(gram)) / len(errors), float(np.sqrt(np.sum(pairs**2)))
    ratio = float(np.linalg.norm(errors.mean(axis=0)) / np.sqrt(square)) if square > 0 else None
    return Bias(ratio, float(pairs.sum()) / spread if spread > 0 else None)


def decompose(errors: Floats, weighted: Floats) -> Decomposition:
    """The mean of (1/2) <e_r, H e_r> in two parts, from errors e_r = w_bar_K - w* and H e_r, both (R, d).

    bias = (1/2) mean over r != s of <e_r, H e_s>, whose expectation is (1/2) ||E e||^2 in the norm of H, so that it
    may fall below 0; variance = the rest, whose expectation is (1/2) Tr(H Cov e). Standard errors by the jackknife,
    sqrt((R-1)/R sum_r (estimate without r - their mean)^2), which err on the safe side (Efron and Stein, 1981).
    None where R < 3.
    """
    count = len(errors)
    if count < 3:
        return Decomposition(None, None, None, None)
    gram = 0.5 * errors @ weighted.T
    squares, rows, total = np.diag(gram), gram.sum(axis=0) + gram.sum(axis=1), float(gram.sum())

    def parts(diagonal: Any, everything: Any, n: int) -> Any:
        bias = (everything - diagonal) / (n * (n - 1))
        return np.array([bias, diagonal / n - bias])

    whole = parts(squares.sum(), total, count)
    without = parts(squares.sum() - squares, total - rows + squares, count - 1)
    spread = np.sqrt((count - 1) / count * np.sum((without - without.mean(axis=1, keepdims=True)) ** 2, axis=1))
    return Decomposition(float(whole[0]), float(spread[0]), float(whole[1]), float(spread[1]))


def first_at_or_below(curve: Floats, target: float | None) -> int | None:
    """The index of the first value that is at most the target, or None."""
    hits = np.flatnonzero(curve <= (np.nan if target is None else target))
    return int(hits[0]) if len(hits) else None


def resampled(count: int) -> NDArray[np.int64]:
    """(RESAMPLES, count) positions of repetitions drawn with replacement, always the same ones."""
    return np.random.Generator(np.random.PCG64(0)).integers(count, size=(RESAMPLES, count))


def target_interval(curves: Floats, target: float | None) -> tuple[int | None, int | None] | None:
    """Between which log points the mean of curves (R, P) first meets the target, by bootstrap over repetitions.

    The percentiles that CONFIDENCE leaves out on either side; None for an end beyond the last log point, and None
    altogether below FEWEST repetitions.
    """
    count, points = curves.shape
    if count < FEWEST or target is None:
        return None
    weights = np.array([np.bincount(rows, minlength=count) for rows in resampled(count)]) / count
    met = weights @ curves <= target
    first = np.where(met.any(axis=1), met.argmax(axis=1), points)
    edges = np.quantile(first, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="nearest")
    low, high = (None if edge == points else int(edge) for edge in edges)
    return low, high
