"""The statistics of mpi_fed.analysis against answers worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from support.synthetic_log import points, power_law

from mpi_fed.analysis import rates

K = 10_000


def test_slope_of_power_laws_is_exact_and_the_interval_is_students() -> None:
    rounds = points(K)
    risks = np.stack([power_law(rounds, 3.0, slope) for slope in (-0.9, -1.0, -1.1)])
    fit = rates.fit_slope(rounds, risks, power_law(rounds, 5.0, -0.8))
    half = 4.302653 * 0.1 / math.sqrt(3)  # t law, 2 degrees of freedom, 97.5%
    assert fit.estimate == pytest.approx(-1.0, abs=1e-10)
    assert (fit.low, fit.high) == pytest.approx((-1 - half, -1 + half), abs=1e-6)
    assert (fit.first_round, fit.last_round, fit.confidence) == (K // 10, K, 0.95)
    assert fit.predicted == pytest.approx(-0.8, abs=1e-10)


def test_slope_of_one_repetition_has_no_interval() -> None:
    rounds = points(K)
    fit = rates.fit_slope(rounds, power_law(rounds, slope=-0.5)[None])
    assert fit.estimate == pytest.approx(-0.5, abs=1e-10)
    assert (fit.low, fit.high, fit.predicted) == (None, None, None)


@pytest.mark.parametrize("risks", [np.zeros((2, 201)), np.empty((0, 201))])
def test_no_slope_without_positive_risks(risks) -> None:
    assert rates.fit_slope(np.arange(201), risks) is None


def test_no_slope_from_two_points() -> None:
    assert rates.fit_slope(np.array([0, 1, 2, 50, 100]), np.ones((2, 5))) is None


def test_slope_interval_covers_although_the_points_of_a_curve_are_correlated() -> None:
    """Risk of an averaged random walk in d = 4, whose slope is -1 in the mean.

    400 intervals of 95%: at least 365 must cover. A sound interval misses that with probability 6e-4.
    """
    rng = np.random.default_rng(0)
    rounds = np.unique(np.geomspace(100, 1000, 60).astype(int))
    steps = np.sqrt(np.diff(rounds, prepend=0))
    covered = 0
    for _ in range(400):
        walk = np.cumsum(steps * rng.standard_normal((5, 4, len(rounds))), axis=-1) / rounds
        fit = rates.fit_slope(rounds, (walk**2).sum(axis=1))
        covered += fit.low <= -1 <= fit.high
    assert covered >= 365


def test_comparison_by_hand() -> None:
    found = rates.compare(np.array([1.0, 2.0, 3.0]), 1.0)
    assert found.z == pytest.approx(math.sqrt(3))  # mean 2, standard error 1/sqrt(3)
    t = 3 * (2 ** (1 / 3) - 1) * 2 * math.sqrt(3)
    assert found.p_value == pytest.approx(1 - t / math.sqrt(2 + t**2))  # the t law with 2 degrees of freedom


def test_an_uncertain_prediction_counts_with_its_error() -> None:
    risks, spread = np.array([1.0, 2.0, 3.0]), math.hypot(1 / (2 * math.sqrt(3)), 0.5)
    t = 3 * (2 ** (1 / 3) - 1) / spread
    assert rates.compare(risks, 1.0, relative_error=0.5).p_value == pytest.approx(1 - t / math.sqrt(2 + t**2))


def test_comparison_needs_two_repetitions_and_a_prediction() -> None:
    assert rates.compare(np.array([1.0]), 1.0) == rates.Comparison(None, None)
    assert rates.compare(np.array([1.0, 2.0]), None) == rates.Comparison(None, None)


def test_comparison_of_deterministic_runs() -> None:
    same = np.full(3, 1.0)
    assert rates.compare(same, 1.0 + 1e-8) == rates.Comparison(None, 1.0)
    assert rates.compare(same, 1.1) == rates.Comparison(None, 0.0)
    assert rates.compare(np.full(3, 1e-30), 1e-40, floor=1e-24).p_value == 1.0


@pytest.mark.parametrize("repetitions", [5, 30])
def test_comparison_keeps_its_level_on_skewed_risks(repetitions) -> None:
    """Exponential risks, 5,000 tests at 1%: 20 to 100 rejections.

    The rate measured over 400,000 tests is 0.9% to 1.3%; with that a run leaves the range with probability
    below 5e-4. Student's t on the plain mean rejects 140 to 250 times.
    """
    rng = np.random.default_rng(repetitions)
    samples = rng.exponential(size=(5_000, repetitions))
    rejected = sum(rates.compare(sample, 1.0).p_value < 0.01 for sample in samples)
    assert 20 <= rejected <= 100


def test_comparison_finds_a_wrong_prediction() -> None:
    """Exponential risks of mean 1.5, 200 repetitions: a prediction of 0.9 has p < 1e-4 in 9 of 10 samples."""
    samples = np.random.default_rng(1).exponential(1.5, size=(10, 200))
    assert sum(rates.compare(sample, 0.9).p_value < 1e-4 for sample in samples) >= 9


def test_bias_of_errors_that_all_agree() -> None:
    found = rates.measure_bias(np.tile([3.0, 4.0], (5, 1)))
    assert found.norm_ratio == pytest.approx(1.0)
    assert found.z == pytest.approx(math.sqrt(5 * 4 / 2))


def test_bias_score_is_standardised_exactly_under_symmetry() -> None:
    errors = np.random.default_rng(2).standard_normal((6, 9)) * np.arange(1, 10)
    flips = np.array(list(itertools.product([-1.0, 1.0], repeat=6)))
    scores = np.array([rates.measure_bias(errors * flip[:, None]).z for flip in flips])
    assert scores.mean() == pytest.approx(0, abs=1e-12)
    assert (scores**2).mean() == pytest.approx(1)


def test_bias_needs_two_repetitions() -> None:
    assert rates.measure_bias(np.ones((1, 3))) == rates.Bias(None, None)
    assert rates.measure_bias(np.zeros((3, 3))) == rates.Bias(None, None)


def test_first_at_or_below() -> None:
    curve = np.array([4.0, 3.0, 2.0, 2.5, 1.0])
    assert rates.first_at_or_below(curve, 2.0) == 2
    assert rates.first_at_or_below(curve, 0.5) is None
    assert rates.first_at_or_below(curve, None) is None


def test_decomposition_adds_up_and_is_unbiased_with_an_honest_error() -> None:
    # Errors m + S z with R = 12: over 4,000 draws the mean of each estimate is within 4.5 standard errors of the truth
    # (either fails with probability 7e-6). The jackknife's error is on the safe side: squared, above the true variance
    # in the mean, here by a half for the bias.
    rng, h = np.random.default_rng(3), np.diag([1.0, 0.25, 4.0])
    m, s = np.array([0.3, 0.0, -0.1]), np.array([1.0, 2.0, 0.1])
    truth = [0.5 * m @ h @ m, 0.5 * np.sum(np.diag(h) * s**2)]
    found, claimed = [], []
    for _ in range(4000):
        errors = m + s * rng.standard_normal((12, 3))
        parts = rates.decompose(errors, errors @ h)
        assert parts.bias + parts.variance == pytest.approx(0.5 * np.mean(np.sum(errors @ h * errors, axis=1)))
        found.append([parts.bias, parts.variance])
        claimed.append([parts.bias_error**2, parts.variance_error**2])
    spread = np.std(found, axis=0, ddof=1)
    assert (np.abs(np.mean(found, axis=0) - truth) < 4.5 * spread / np.sqrt(len(found))).all()
    safety = np.mean(claimed, axis=0) / spread**2
    assert (safety > 0.9).all()
    assert (safety < 2.0).all()


def test_decomposition_of_errors_that_all_agree_is_bias_alone() -> None:
    parts = rates.decompose(np.tile([3.0, 4.0], (5, 1)), np.tile([3.0, 4.0], (5, 1)))
    assert (parts.bias, parts.variance) == pytest.approx((12.5, 0.0))
    assert (parts.bias_error, parts.variance_error) == pytest.approx((0.0, 0.0))
    assert rates.decompose(np.ones((2, 3)), np.ones((2, 3))) == rates.Decomposition(None, None, None, None)


def test_the_interval_of_rounds_to_a_target_by_hand() -> None:
    """The mean risk 1/k times the mean of five factors: resampled means of them lie within about 2 errors."""
    rounds = np.unique(np.geomspace(1, 1000, 400).astype(int))
    factors = np.array([0.8, 0.9, 1.0, 1.1, 1.2])
    low, high = rates.target_interval(factors[:, None] / rounds, 0.01)
    error = factors.std() / np.sqrt(5)
    assert rounds[low] == pytest.approx(100 * (1 - 1.96 * error), rel=0.03)
    assert rounds[high] == pytest.approx(100 * (1 + 1.96 * error), rel=0.03)
    assert rates.target_interval(factors[:, None] / rounds, 0.001)[1] is None
    assert rates.target_interval(factors[:, None] / rounds, 1e-9) == (None, None)
    assert rates.target_interval(factors[:2, None] / rounds, 0.01) is None
