"""The statistics of mpi_fed.analysis compared with values computed by hand."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from support.synthetic_log import points, power_law

from mpi_fed.analysis import rates
from mpi_fed.analysis.document import Bias, Decomposition, Slope

Floats = NDArray[np.float64]
K = 10_000


def slope_of(rounds: NDArray[np.int64], risks: Floats, predicted: Floats | None = None) -> Slope:
    """Return the slope of log risk against log rounds, which must exist."""
    fit = rates.fit_slope(rounds, risks, predicted)
    assert fit is not None
    return fit


def p_value(risks: Floats, predicted: float, relative_error: float = 0.0, floor: float = 0.0) -> float:
    """Return the p-value of risks under a predicted mean, which must exist."""
    return number(rates.compare(risks, predicted, relative_error, floor).p_value)


def number(value: float | None) -> float:
    """Return a number, which must not be None."""
    assert value is not None
    return value


def test_slope_of_power_laws_is_exact_and_the_interval_is_students() -> None:
    rounds = points(K)
    risks = np.stack([power_law(rounds, 3.0, slope) for slope in (-0.9, -1.0, -1.1)])
    fit = slope_of(rounds, risks, power_law(rounds, 5.0, -0.8))
    half = 4.302653 * 0.1 / math.sqrt(3)  # Student's t, 2 degrees of freedom, 97.5%
    assert fit.estimate == pytest.approx(-1.0, abs=1e-10)
    assert (fit.low, fit.high) == pytest.approx((-1 - half, -1 + half), abs=1e-6)
    assert (fit.first_round, fit.last_round, fit.confidence) == (K // 10, K, 0.95)
    assert fit.predicted == pytest.approx(-0.8, abs=1e-10)


def test_slope_of_one_repetition_has_no_interval() -> None:
    rounds = points(K)
    fit = slope_of(rounds, power_law(rounds, slope=-0.5)[None])
    assert fit.estimate == pytest.approx(-0.5, abs=1e-10)
    assert (fit.low, fit.high, fit.predicted) == (None, None, None)


@pytest.mark.parametrize("risks", [np.zeros((2, 201)), np.empty((0, 201))])
def test_no_slope_without_positive_risks(risks: Floats) -> None:
    assert rates.fit_slope(np.arange(201), risks) is None


def test_no_slope_from_two_points() -> None:
    assert rates.fit_slope(np.array([0, 1, 2, 50, 100]), np.ones((2, 5))) is None


def test_slope_interval_covers_although_the_points_of_a_curve_are_correlated() -> None:
    """The risk of an averaged random walk in d = 4 has slope -1 in the mean.

    At least 365 of 400 intervals of 95% must cover it. A correct interval fails with probability 6e-4.
    """
    rng = np.random.default_rng(0)
    rounds = np.unique(np.geomspace(100, 1000, 60).astype(int))
    steps = np.sqrt(np.diff(rounds, prepend=0))
    covered = 0
    for _ in range(400):
        walk = np.cumsum(steps * rng.standard_normal((5, 4, len(rounds))), axis=-1) / rounds
        fit = slope_of(rounds, (walk**2).sum(axis=1))
        assert fit.low is not None
        assert fit.high is not None
        covered += fit.low <= -1 <= fit.high
    assert covered >= 365


def test_comparison_has_the_values_computed_by_hand() -> None:
    comparison = rates.compare(np.array([1.0, 2.0, 3.0]), 1.0)
    assert comparison.z == pytest.approx(math.sqrt(3))  # mean 2, standard error 1/sqrt(3)
    t = 3 * (2 ** (1 / 3) - 1) * 2 * math.sqrt(3)
    assert comparison.p_value == pytest.approx(1 - t / math.sqrt(2 + t**2))  # Student's t with 2 degrees of freedom


def test_the_error_of_a_prediction_enters_the_p_value() -> None:
    risks, spread = np.array([1.0, 2.0, 3.0]), math.hypot(1 / (2 * math.sqrt(3)), 0.5)
    t = 3 * (2 ** (1 / 3) - 1) / spread
    assert p_value(risks, 1.0, relative_error=0.5) == pytest.approx(1 - t / math.sqrt(2 + t**2))


def test_comparison_needs_two_repetitions_and_a_prediction() -> None:
    assert rates.compare(np.array([1.0]), 1.0) == rates.Comparison(None, None)
    assert rates.compare(np.array([1.0, 2.0]), None) == rates.Comparison(None, None)


def test_comparison_of_deterministic_runs() -> None:
    same = np.full(3, 1.0)
    assert rates.compare(same, 1.0 + 1e-8) == rates.Comparison(None, 1.0)
    assert rates.compare(same, 1.1) == rates.Comparison(None, 0.0)
    assert p_value(np.full(3, 1e-30), 1e-40, floor=1e-24) == 1.0


@pytest.mark.parametrize("repetitions", [5, 30])
def test_comparison_keeps_its_level_on_skewed_risks(repetitions: int) -> None:
    """20 to 100 of 5,000 tests at level 1% on exponential risks reject.

    Over 400,000 tests the measured rate is 0.9% to 1.3%. At this rate the number leaves the range with probability
    below 5e-4. Student's t test on the mean rejects 140 to 250 times.
    """
    rng = np.random.default_rng(repetitions)
    samples = rng.exponential(size=(5_000, repetitions))
    rejected = sum(p_value(sample, 1.0) < 0.01 for sample in samples)
    assert 20 <= rejected <= 100


def test_comparison_finds_a_wrong_prediction() -> None:
    """A prediction of 0.9 has p < 1e-4 in 9 of 10 samples of 200 exponential risks of mean 1.5."""
    samples = np.random.default_rng(1).exponential(1.5, size=(10, 200))
    assert sum(p_value(sample, 0.9) < 1e-4 for sample in samples) >= 9


def test_errors_that_are_all_equal_are_all_bias() -> None:
    bias = rates.measure_bias(np.tile([3.0, 4.0], (5, 1)))
    assert bias.norm_ratio == pytest.approx(1.0)
    assert bias.z == pytest.approx(math.sqrt(5 * 4 / 2))


def test_bias_score_is_standardised_exactly_under_symmetry() -> None:
    errors = np.random.default_rng(2).standard_normal((6, 9)) * np.arange(1, 10)
    flips = np.array(list(itertools.product([-1.0, 1.0], repeat=6)))
    scores = np.array([rates.measure_bias(errors * flip[:, None]).z for flip in flips])
    assert scores.mean() == pytest.approx(0, abs=1e-12)
    assert (scores**2).mean() == pytest.approx(1)


def test_bias_needs_two_repetitions() -> None:
    assert rates.measure_bias(np.ones((1, 3))) == Bias(None, None)
    assert rates.measure_bias(np.zeros((3, 3))) == Bias(None, None)


def test_first_at_or_below() -> None:
    curve = np.array([4.0, 3.0, 2.0, 2.5, 1.0])
    assert rates.first_at_or_below(curve, 2.0) == 2
    assert rates.first_at_or_below(curve, 0.5) is None
    assert rates.first_at_or_below(curve, None) is None


def test_decomposition_adds_up_and_is_unbiased_and_its_errors_are_not_too_small() -> None:
    # Errors m + S z with R = 12: over 4,000 draws the mean of each estimate is within 4.5 standard errors of the true
    # value (each fails with probability 7e-6). The mean of the jackknife's squared error exceeds the true variance,
    # here by a half for the bias.
    rng, h = np.random.default_rng(3), np.diag([1.0, 0.25, 4.0])
    m, s = np.array([0.3, 0.0, -0.1]), np.array([1.0, 2.0, 0.1])
    truth = [0.5 * m @ h @ m, 0.5 * np.sum(np.diag(h) * s**2)]
    estimates, claimed = [], []
    for _ in range(4000):
        errors = m + s * rng.standard_normal((12, 3))
        parts = rates.decompose(errors, errors @ h)
        bias, variance = number(parts.bias), number(parts.variance)
        assert bias + variance == pytest.approx(0.5 * np.mean(np.sum(errors @ h * errors, axis=1)))
        estimates.append([bias, variance])
        claimed.append([number(parts.bias_error) ** 2, number(parts.variance_error) ** 2])
    spread = np.std(estimates, axis=0, ddof=1)
    assert (np.abs(np.mean(estimates, axis=0) - truth) < 4.5 * spread / np.sqrt(len(estimates))).all()
    safety = np.mean(claimed, axis=0) / spread**2
    assert (safety > 0.9).all()
    assert (safety < 2.0).all()


def test_decomposition_of_equal_errors_is_bias_only() -> None:
    parts = rates.decompose(np.tile([3.0, 4.0], (5, 1)), np.tile([3.0, 4.0], (5, 1)))
    assert (parts.bias, parts.variance) == pytest.approx((12.5, 0.0))
    assert (parts.bias_error, parts.variance_error) == pytest.approx((0.0, 0.0))
    assert rates.decompose(np.ones((2, 3)), np.ones((2, 3))) == Decomposition(None, None, None, None)


def test_the_interval_of_rounds_to_a_target_is_close_to_the_normal_interval() -> None:
    """The mean risk is 1/k times the mean of five factors; 95% of its resamples lie within 1.96 standard errors."""
    rounds = np.unique(np.geomspace(1, 1000, 400).astype(int))
    factors = np.array([0.8, 0.9, 1.0, 1.1, 1.2])
    interval = rates.target_interval(factors[:, None] / rounds, 0.01)
    assert interval is not None
    low, high = interval
    error = factors.std() / np.sqrt(5)
    assert rounds[low] == pytest.approx(100 * (1 - 1.96 * error), rel=0.03)
    assert rounds[high] == pytest.approx(100 * (1 + 1.96 * error), rel=0.03)
    beyond = rates.target_interval(factors[:, None] / rounds, 0.001)
    assert beyond is not None
    assert beyond[1] is None
    assert rates.target_interval(factors[:, None] / rounds, 1e-9) == (None, None)
    assert rates.target_interval(factors[:2, None] / rounds, 0.01) is None
