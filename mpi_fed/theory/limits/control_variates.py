"""The limit with control variates: with memories in their stationary state, and with ideal memories."""

from __future__ import annotations

import numpy as np

from ..moments.covariance_from_input import covariance_from_input
from ..moments.symmetric_packing import Array
from ..recursions.build_control_variates import control_variates_recursion
from ..recursions.control_variates import ControlVariatesRecursion
from ..run_model import RunModel

ITERATIONS = 10_000
TOLERANCE = 1e-12


def control_variates_limits(model: RunModel) -> tuple[Array | None, Array]:
    """Return the eigenvalues (d,) of H^(-1/2) C_ania H^(-1/2) for stationary and for ideal memories.

    Their sum is Tr(C_ania H^-1). The first array is for memories in their stationary state at w*:
    C_ania = N^-2 sum_i (1 - alpha/2) c(Theta_i + V_i), where V_i = Cov(h_i) solves 2 V_i = alpha c(Theta_i + V_i). The
    array is None if this equation has no solution.

    The second array is for ideal memories, h_i = m_i and V_i = 0: C_ania = N^-2 sum_i c(Theta_i).
    """
    recursion, d = control_variates_recursion(model), model.population.dimension
    star = np.zeros((1, d + 1, d + 1))
    star[0, -1, -1] = 1.0
    thetas = [block.gradient_moments(star)[1] for block in recursion.blocks]
    ideal = [_compressed(model, recursion, theta)[0] for theta in thetas]
    spreads = [_memory_covariance(model, recursion, theta) for theta in thetas]
    inputs = [theta + v for theta, v in zip(thetas, spreads, strict=True) if v is not None]
    if len(inputs) < len(thetas):
        return None, recursion.weights(ideal, star)
    scale = 1 - recursion.alpha / 2
    settled = [scale * _compressed(model, recursion, moment)[0] for moment in inputs]
    return recursion.weights(settled, star), recursion.weights(ideal, star)


def _memory_covariance(model: RunModel, recursion: ControlVariatesRecursion, theta: Array) -> Array | None:
    """Return V (1, d, d) by iteration, or None if the iteration does not converge.

    Each iteration contracts by alpha (1 + omega)/2.
    """
    v = np.zeros_like(theta)
    for _ in range(ITERATIONS):
        after = recursion.alpha / 2 * _compressed(model, recursion, theta + v)
        change, v = np.abs(after - v).max(), after
        if not np.isfinite(change):
            return None
        if change <= TOLERANCE * np.abs(v).max():
            return v
    return None


def _compressed(model: RunModel, recursion: ControlVariatesRecursion, moment: Array) -> Array:
    """Return c(M) (1, d, d) for M = `moment`; if the compressor is not linear, its input is treated as Gaussian."""
    if not moment.any():
        return moment
    return moment + covariance_from_input(model.compressor, moment[0], recursion.rotation)(moment)
