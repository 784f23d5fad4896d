"""Statistics of a configuration's repetitions: means, slopes, comparison with a prediction, bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .document import Bias, Decomposition, Slope

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
"""Confidence of the intervals."""
WINDOW = 10
"""Ratio of the last round of a slope's fit to the first: it covers rounds K / WINDOW to K, the last decade."""
FEWEST = 3
"""Fewest repetitions that are resampled to estimate uncertainty."""
RESAMPLES = 1000
"""Number of bootstrap resamples of the repetitions; all configurations use the same, because they see the same data."""
FEWEST_POINTS = 3
"""Fewest log points that a slope needs in its window."""
ROUNDING = 1e-6
"""Relative difference between measurement and prediction that float32 messages can cause, and that is ignored."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of a mean with its prediction.

    Attributes
    ----------
    z : float or None
        (mean - predicted) / standard error; None if the repetitions differ by rounding only.
    p_value : float or None
        Two-sided p-value. Both are None without a prediction or with fewer than two repetitions.
    """

    z: float | None
    p_value: float | None


def mean_and_error(values: Floats) -> tuple[float | None, float | None]:
    """Return a mean and its standard error.

    Parameters
    ----------
    values : array of float, shape (R)
        One value for each repetition.

    Returns
    -------
    mean : float or None
        None if R = 0.
    standard_error : float or None
        s / sqrt(R) with s the standard deviation (R - 1 in its denominator); None if R < 2.

    Examples
    --------
    >>> import numpy as np
    >>> from mpi_fed.analysis.rates import mean_and_error
    >>> mean_and_error(np.array([1.0, 3.0]))
    (2.0, 1.0)
    """
    from scipy import stats

    mean = float(np.mean(values)) if len(values) else None
    return mean, float(stats.sem(values)) if len(values) > 1 else None


def fit_slope(
    rounds: NDArray[np.int64], risks: Floats, predicted: Floats | None = None, first_round: float | None = None
) -> Slope | None:
    """Return the slope of log risk against log rounds.

    Parameters
    ----------
    rounds : array of int, shape (P)
        Rounds of the log points, ascending; the last one is K.
    risks : array of float, shape (R, P)
        Excess risks of R repetitions.
    predicted : array of float, shape (P), optional
        Predicted risks.
    first_round : float, optional
        First round of the fit. The default is K / 10, so that the fit covers the last decade.

    Returns
    -------
    Slope or None
        None if the window has fewer than three log points, if R = 0, or if a risk in the window is not positive.

    Notes
    -----
    The points of one curve are strongly correlated (w_bar_2k shares half of its terms with w_bar_k), so the error that
    a regression computes from its residuals is far too small. Each repetition is therefore fitted separately, by
    least squares. The R slopes are independent; they give the mean and Student's t-interval. With one repetition there
    is no interval.

    Examples
    --------
    >>> import numpy as np
    >>> from mpi_fed.analysis.rates import fit_slope
    >>> rounds = np.array([1, 10, 20, 50, 100])
    >>> risks = np.array([[2.0], [3.0]]) / np.sqrt(rounds)
    >>> fit = fit_slope(rounds, risks)
    >>> round(fit.estimate, 6), fit.first_round, fit.last_round
    (-0.5, 10, 100)
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
    """Compare the mean of risks with the predicted mean.

    Parameters
    ----------
    risks : array of float, shape (R)
        Excess risks of R repetitions.
    predicted : float or None
        Predicted mean.
    relative_error : float, default 0
        Relative standard error of the prediction.
    floor : float, default 0
        Greatest difference that counts as rounding, and gives p = 1.

    Returns
    -------
    Comparison
        z = (mean - predicted) / se, and the p-value.

    Notes
    -----
    Excess risks are skewed (in the limit a weighted sum of chi squares), so Student's t rejects far too often on the
    low side. The p-value therefore uses the cube root, which is nearly normal for such sums [1]_. It compares the
    score of the delta method, t = 3 ((mean / predicted)^(1/3) - 1) / sqrt((se / mean)^2 + relative_error^2), with
    Student's t distribution with R - 1 degrees of freedom.

    References
    ----------
    .. [1] E. B. Wilson and M. M. Hilferty, The distribution of chi-square, PNAS 17 (1931).
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
    """Measure how far the mean of errors is from zero.

    Parameters
    ----------
    errors : array of float, shape (R, d)
        e_r = w_bar_K - w* of R repetitions.

    Returns
    -------
    Bias
        norm_ratio = ||mean error|| / sqrt(mean ||error||^2): about 1/sqrt(R) without bias, 1 if all error is bias.
        z = sum_{r<s} <e_r, e_s> / sqrt(sum_{r<s} <e_r, e_s>^2): it has mean 0 and variance 1 exactly, for any R and d,
        if the errors are independent and symmetric about 0; bias makes it large and positive. Both are None if R < 2.
    """
    if len(errors) < 2:
        return Bias(None, None)
    gram = errors @ errors.T
    pairs = gram[np.triu_indices(len(errors), 1)]
    square, spread = float(np.trace(gram)) / len(errors), float(np.sqrt(np.sum(pairs**2)))
    ratio = float(np.linalg.norm(errors.mean(axis=0)) / np.sqrt(square)) if square > 0 else None
    return Bias(ratio, float(pairs.sum()) / spread if spread > 0 else None)


def decompose(errors: Floats, weighted: Floats) -> Decomposition:
    """Split the mean excess risk, the mean of (1/2) <e_r, H e_r>, into bias and variance.

    Parameters
    ----------
    errors : array of float, shape (R, d)
        e_r = w_bar_K - w* of R repetitions.
    weighted : array of float, shape (R, d)
        H e_r.

    Returns
    -------
    Decomposition
        bias = (1/2) mean over r != s of <e_r, H e_s>, whose expectation is (1/2) ||E e||^2 in the norm of H; the
        estimate may be negative. variance = mean risk - bias, whose expectation is (1/2) Tr(H Cov e). All are None
        if R < 3.

    Notes
    -----
    The standard errors come from the jackknife: sqrt((R-1)/R sum_r (e_r - mean e)^2), where e_r is the estimate without
    repetition r. On average they are too large rather than too small [1]_.

    References
    ----------
    .. [1] B. Efron and C. Stein, The jackknife estimate of variance, Annals of Statistics 9 (1981).
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
    """Return the index of the first value that is at most the target.

    Parameters
    ----------
    curve : array of float, shape (P)
        Risks at the log points.
    target : float or None
        Target risk.

    Returns
    -------
    int or None
        None if no value meets the target, or without a target.

    Examples
    --------
    >>> import numpy as np
    >>> from mpi_fed.analysis.rates import first_at_or_below
    >>> first_at_or_below(np.array([4.0, 2.0, 3.0, 1.0]), 2.5)
    1
    """
    hits = np.flatnonzero(curve <= (np.nan if target is None else target))
    return int(hits[0]) if len(hits) else None


def resampled(count: int) -> NDArray[np.int64]:
    """Return positions of repetitions drawn with replacement (shape (RESAMPLES, count)), the same in every call."""
    return np.random.Generator(np.random.PCG64(0)).integers(count, size=(RESAMPLES, count))


def target_interval(curves: Floats, target: float | None) -> tuple[int | None, int | None] | None:
    """Return a bootstrap interval, over repetitions, of the log point at which the mean first meets the target.

    Parameters
    ----------
    curves : array of float, shape (R, P)
        Risks of R repetitions at P log points.
    target : float or None
        Target risk.

    Returns
    -------
    tuple of (int or None), or None
        Indices of the two log points: the percentiles (1 -+ CONFIDENCE) / 2 over RESAMPLES resamples. An end beyond
        the last log point is None. None instead of the pair if R < FEWEST, or without a target.
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
