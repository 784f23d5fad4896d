"""Comparison of draws of C(x) with their definition: expectation, variance, covariance, length, independence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compressors import Compressor
from .draws import Draws
from .expected_moments import ExpectedMoments
from .scores import LIMIT, Findings, score

Array = NDArray[np.float64]

HALF_UNIT = {16: 0.0, 32: 2.0**-24, 64: 2.0**-53}
"""Largest relative bias of rounding, by bits of a float: half a unit in the last place for rounding to nearest, and 0
for float16, which is rounded at random."""
ROUNDING_VARIANCE = {16: 2.0**-22, 32: 2.0**-22 / 2, 64: 2.0**-50}
"""Largest contribution of rounding to second moments, relative to the squares of the sent numbers."""
RANDOM_ROUNDING = {16: 2.0**-22, 32: 0.0, 64: 0.0}
"""Largest variance of rounding at random, relative to the square of the number. The jumps of this rounding may be too
rare to be observed."""
SUMMING = 1e-11
"""Rounding error of the sums computed here, relative to the largest summand."""
UNSEEN = LIMIT**2 / 2
"""Expected number of occurrences at which an event stays unobserved with probability exp(-LIMIT^2/2) only."""


def compare_draws(compressor: Compressor, x: Array, draws: Draws, findings: Findings) -> float | None:
    """Compare the draws at x (shape (d,)) with the closed forms and bounds, and enter the scores.

    Returns the measured E||C(x) - x||^2/(omega ||x||^2), or None if omega is 0.
    """
    moments = ExpectedMoments(compressor, x)
    _compare_along_x(compressor, moments, draws, findings)
    if draws.full:
        _compare_coordinates(compressor, moments, draws, findings)
    _compare_independence(compressor, draws, findings)
    _compare_length(compressor, draws, findings)
    return _compare_variance(compressor, moments, draws, findings)


def _mean_score(draws: Array, expected: float, slack: float, width: float = 0.0) -> Array:
    """Return the score of the mean of draws (shape (n,)) whose expectation is known up to `slack`."""
    distance = max(0.0, abs(float(draws.mean()) - expected) - slack)
    seen = max(float(draws.max()), expected) - min(float(draws.min()), expected)
    return score(distance, draws.var(), max(seen, width), len(draws))


def _compare_variance(
    compressor: Compressor, moments: ExpectedMoments, draws: Draws, findings: Findings
) -> float | None:
    """Compare E||C(x) - x||^2 with its closed form and with omega ||x||^2.

    Returns the measured E||C(x) - x||^2/(omega ||x||^2), or None if omega is 0.
    """
    d, energy = len(moments.x), draws.of("energy")
    square, omega, tight = float(moments.x @ moments.x), compressor.omega_bound(d), compressor.omega_tight(d)
    slack = (ROUNDING_VARIANCE[compressor.value_bits] + SUMMING) * float((energy + square).mean()) * 2
    if moments.trace is not None:
        findings.compare("variance", "E||C(x)-x||^2 is not its closed form", _mean_score(energy, moments.trace, slack))
        for name, bound in (("omega", omega), ("the tight omega", tight)):
            holds = bound is None or moments.trace <= bound * square * (1 + 1e-9) + slack
            findings.require(holds, f"the closed form of E||C(x)-x||^2 is above {name} ||x||^2")
    excess = np.maximum(0.0, energy.mean() - omega * square - slack)
    findings.compare(
        "variance", "E||C(x)-x||^2 is above omega ||x||^2", score(excess, energy.var(), np.ptp(energy), len(energy))
    )
    return float(energy.mean()) / (omega * square) if omega > 0 else None


def _compare_along_x(compressor: Compressor, moments: ExpectedMoments, draws: Draws, findings: Findings) -> None:
    """Compare the mean of <C(x), x_B>/||x_B||^2 for blocks B of x with 1; for x itself, also its variance if known."""
    along, norms, expected = draws.of("along"), draws.norms, moments.variance_along(draws.starts)
    rounding = RANDOM_ROUNDING[compressor.value_bits]
    variance = np.maximum(along.var(axis=0), rounding + (0.0 if expected is None else expected / norms**2))
    rare = draws.jump * np.sqrt(np.maximum.reduceat(moments.x * moments.x, draws.starts)) / norms
    width = np.maximum(np.ptp(along, axis=0), rare)
    slack = HALF_UNIT[compressor.value_bits] + SUMMING
    distance = np.maximum(0.0, np.abs(along.mean(axis=0)) - slack)
    failure = "the mean of <C(x), x> over a block is not ||x||^2 over the block"
    findings.compare("bias", failure, score(distance, variance, width, len(along)))
    whole, total = along @ norms / norms.sum(), moments.variance_along(np.zeros(1, np.int64))
    deviation = None if total is None else float(total[0]) / norms.sum() ** 2
    variance = max(whole.var(), rounding + (deviation or 0.0))
    distance = max(0.0, abs(whole.mean()) - slack)
    failure = "the mean of <C(x), x> is not ||x||^2"
    findings.compare("bias", failure, score(distance, variance, np.ptp(whole), len(whole)))
    if deviation is not None:
        slack = (ROUNDING_VARIANCE[compressor.value_bits] + SUMMING) * 4 * (1 + whole.var())
        failure = "the variance of <C(x), x> is not its closed form"
        findings.compare("covariance", failure, _mean_score(whole**2, deviation, slack))


def _compare_coordinates(compressor: Compressor, moments: ExpectedMoments, draws: Draws, findings: Findings) -> None:
    """Compare the expectation of every coordinate, and the covariance matrix if it has a closed form."""
    n, mean, second = draws.count, draws.sum / draws.count, draws.products / draws.count
    seen = np.maximum(np.diag(second) - mean**2, 0.0)
    sent = np.maximum(np.maximum(-draws.low, draws.high), np.abs(moments.x))
    rounding = RANDOM_ROUNDING[compressor.value_bits] * sent**2
    variance = np.maximum(seen, rounding + (0.0 if moments.variances is None else moments.variances))
    width = draws.high - draws.low if moments.variances is not None else np.full(len(mean), 2 * draws.jump)
    slack = HALF_UNIT[compressor.value_bits] * draws.sum_magnitude / n + SUMMING * (draws.high - draws.low)
    distance = np.maximum(0.0, np.abs(mean) - slack)
    findings.compare("bias", "the mean of C(x) is not x in coordinate", score(distance, variance, width, n))
    if moments.covariance is None or moments.variances is None:
        return
    # Jumps too rare to be observed may be as large as the largest observed jump, if the variance allows it.
    jump = np.minimum(draws.jump, np.sqrt(moments.variances * n / UNSEEN))
    missed = jump > np.maximum(-draws.low, draws.high)
    low, high = np.where(missed, -jump, draws.low), np.where(missed, jump, draws.high)
    corners = [np.outer(a, b) for a in (low, high) for b in (low, high)]
    width = np.max(corners, axis=0) - np.min(corners, axis=0)
    of_products = np.maximum(draws.squares / n - second**2, 0.0)
    # If joint jumps are too rare to be observed, the variance of products is at least that of independent coordinates.
    floor = np.outer(moments.variances, moments.variances)
    of_products = np.where(np.eye(len(mean), dtype=bool), of_products, np.maximum(of_products, floor))
    slack = (ROUNDING_VARIANCE[compressor.value_bits] + SUMMING) * np.outer(sent, sent) * 4
    distance = np.maximum(0.0, np.abs(second - moments.covariance) - slack)
    upper = np.triu_indices(len(mean))
    scores = np.zeros_like(second)
    scores[upper] = score(distance[upper], of_products[upper], width[upper], n)
    findings.compare("covariance", "the covariance of C(x) is not its closed form in entry", scores)


def _compare_independence(compressor: Compressor, draws: Draws, findings: Findings) -> None:
    """Check that the products of the errors of two draws have mean 0."""
    widest = 2 * float(draws.of("energy").max())
    biased = HALF_UNIT[compressor.value_bits] ** 2 * float(
        draws.x @ draws.x
    )  # rounding to nearest gives the same error twice
    slack = SUMMING * widest + 4 * biased
    for name, pair in (("clients", "two clients in one round"), ("rounds", "two rounds of one client")):
        scores = _mean_score(draws.of(name), 0.0, slack, widest)
        findings.compare("independence", f"draws of {pair} are correlated", scores)


def _compare_length(compressor: Compressor, draws: Draws, findings: Findings) -> None:
    """Compare the mean number of information bits with `payload_bits`.

    For a fixed length, check instead that `payload_bits` agrees with the number of bytes.
    """
    d = len(draws.x)
    bits, longest = compressor.payload_bits(d), compressor.payload_bytes_max(d)
    if not compressor.fixed_length:
        failure = "the mean information bits are not payload_bits"
        findings.compare("length", failure, _mean_score(draws.of("bits"), bits, 1e-9 * bits))
        return
    padding = 8 * longest - bits
    findings.require(
        0 <= padding < 128, f"payload_bits is {bits:g}, but a message has {longest} bytes, which are {8 * longest} bits"
    )
