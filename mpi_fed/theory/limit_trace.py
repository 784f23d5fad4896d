"""Tr(C_ania H^-1) at w* where the exact recursion does not give it: closed forms, else the gradient's own law sampled.

At w* a Gaussian client's gradient of b samples is, with a_m = <x_m, Delta> and r_m = a_m - eps_m,
    g = (1/b) sum_m r_m x_m = (a . r / b) c + (|r| / b) R^(1/2) z,   z ~ N(0, I) independent of (a, r),
c = H Delta / (Delta^T H Delta), R = H - H Delta Delta^T H / (Delta^T H Delta): b costs nothing. Without a shift
g = (|eps| / b) H^(1/2) z, so that a homogeneous compressor's C_ania is sigma^2/b times that of x itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..compressors import Compressor
from ..problems.population import Covariance
from .moments.compression_covariance import LinearAdded, added_covariance, conditional_statistic
from .moments.conditional_variances import FittedVariances
from .moments.gradient_moments import EmpiricalLaw, GaussianLaw, Law
from .moments.symmetric_packing import Array, unpack
from .recursions.choose import Setting, memory_recursion
from .recursions.control_variates import MemoryRecursion

DRAWS = 1 << 16
"""Gradients sampled, over all clients."""
WORK = 2e8
"""Numbers drawn for them, at most."""
FEWEST = 64
"""Mean messages, at least."""


class Estimate(NamedTuple):
    """A value and its standard error, 0 where it is exact."""

    value: float
    standard_error: float


def limit_trace(
    laws: Sequence[Law],
    compressor: Compressor,
    batch: int | None,
    covariance: Covariance,
    downlink: Compressor | None = None,
) -> Estimate:
    """Tr(C_ania H^-1), H = `covariance`, the clients' mean; `downlink`: a linear compressor of the mean message."""
    inverse = covariance_inverse(covariance)
    if downlink is not None:  # Tr(c(C) H^-1) = Tr(C c*(H^-1))
        inverse = downlink.adjoint_second_moment(inverse)
    members = [member for law in laws for member in law.members()]
    clients = sum(law.weight for law in members)
    parts = []
    for law in members:
        value, error = _client_trace(law, compressor, batch, inverse, len(members))
        parts.append((law.weight * value, law.weight * error))
    values, errors = np.array(parts).T
    return Estimate(float(values.sum()) / clients**2, float(np.linalg.norm(errors)) / clients**2)


def covariance_inverse(covariance: Covariance) -> Array:
    """H^-1, (d, d)."""
    inverse = covariance.rotate(np.diag(1 / covariance.eigenvalues))
    return covariance.rotate(np.ascontiguousarray(inverse.T))


def added_by_downlink(
    laws: Sequence[Law], compressor: Compressor, batch: int | None, covariance: Covariance, downlink: Compressor
) -> Estimate | None:
    """E Tr(Cov(C_down(t) | t) H^-1) for the mean message t at w*, drawn; to be added to the limit without a downlink.

    For a downlink that is not linear, for which the whole law of t matters. None where messages cannot be drawn, or
    the clients are too many."""
    members = [member for law in laws for member in law.members()]
    clients, inverse = round(sum(law.weight for law in members)), covariance_inverse(covariance)
    d, rng = len(inverse), np.random.Generator(np.random.PCG64(7))
    count = int(min(DRAWS if downlink.uncorrelated else DRAWS // 16, WORK / (clients * d * (4 + 2 * (batch or 1)))))
    if count < FEWEST:
        return None
    width, values = max(1, (1 << 21) // (clients * d * (batch or 1))), []
    for start in range(0, count, width):
        n = min(width, count - start)
        total = np.zeros((n, d))
        for law in members:
            g = _draw(law, batch, n * law.weight, rng) if batch else np.tile(_mean_gradient(law), (n * law.weight, 1))
            try:
                message = g if compressor.common else compressor.sampled(g, rng)
            except NotImplementedError:
                return None
            total += message.reshape(n, law.weight, d).sum(axis=1) / clients
        values.append(_added(downlink, compressor.sampled(total, rng) if compressor.common else total, inverse))
    found = np.concatenate(values)
    return Estimate(float(found.mean()), float(found.std() / np.sqrt(count)))


def _client_trace(law: Law, compressor: Compressor, batch: int | None, inverse: Array, share: int) -> Estimate:
    """Tr(Cov(C(g)) inverse) of one client at w*; `share` clients share the draws."""
    mean, sampling = _moments(law, batch)
    own = float((sampling * inverse).sum())
    value, error = _added_trace(law, compressor, batch, inverse, mean + sampling, share)
    return Estimate(own + value, error)


def _moments(law: Law, batch: int | None) -> tuple[Array, Array]:
    """m m^T and Cov(g) at w*, (d, d)."""
    mean = np.outer(_mean_gradient(law), _mean_gradient(law))
    if not batch:
        return mean, np.zeros_like(mean)
    if isinstance(law, EmpiricalLaw):
        g = law.sample_gradients(law.clients[0])
        return mean, (g.T @ g / len(g) - mean) / batch
    assert isinstance(law, GaussianLaw)
    scale = law.noise_variance + law.shift @ law.covariance.apply(law.shift)
    return mean, (scale * law.covariance.dense + mean) / batch


def _added_trace(
    law: Law, compressor: Compressor, batch: int | None, inverse: Array, moment: Array, share: int
) -> Estimate:
    """E Tr(Cov(C(g) | g) inverse)."""
    if compressor.linear:
        added = LinearAdded(compressor).of(moment[None])[0]
        return Estimate(float((added * inverse).sum()), 0.0)
    if not batch:
        return Estimate(float(_added(compressor, _mean_gradient(law)[None], inverse)[0]), 0.0)
    scalable = compressor.homogeneous and compressor.uncorrelated
    if isinstance(law, GaussianLaw) and scalable and not law.shifted:
        fitted, scale = FittedVariances(compressor, law.covariance), law.noise_variance / batch
        augmented = np.zeros((len(inverse) + 1, len(inverse) + 1))
        augmented[-1, -1] = scale
        value = scale * float(fitted.means() @ np.diag(inverse))
        return Estimate(value, fitted.standard_error(augmented, inverse))
    if isinstance(law, EmpiricalLaw) and batch == 1 and (compressor.uncorrelated or _few(law)):
        g = law.sample_gradients(law.clients[0])
        return Estimate(float(_added(compressor, g, inverse).mean()), 0.0)
    return _sampled(law, compressor, batch, inverse, moment, share)


def _few(law: EmpiricalLaw) -> bool:
    return len(law.clients[0].targets) <= DRAWS // 16


def _added(compressor: Compressor, gradients: Array, inverse: Array) -> Array:
    """Tr(Cov(C(g) | g) inverse), (n,), at gradients (n, d)."""
    if compressor.uncorrelated:
        return compressor.variances(gradients) @ np.diag(inverse)
    covariances = unpack(conditional_statistic(compressor, gradients), len(inverse))
    return np.einsum("njk,jk->n", covariances, inverse)


def _mean_gradient(law: Law) -> Array:
    """E g at w*, (d,)."""
    if isinstance(law, EmpiricalLaw):
        return law.sample_gradients(law.clients[0]).mean(axis=0)
    assert isinstance(law, GaussianLaw)
    return law.covariance.apply(law.shift)


def _sampled(law: Law, compressor: Compressor, batch: int, inverse: Array, moment: Array, share: int) -> Estimate:
    """E Tr(Cov(C(g) | g) inverse), with sum_j inverse_jj g_j^2 and |g|^2 as control variates."""
    d = len(inverse)
    cost = batch * (d if isinstance(law, EmpiricalLaw) else 2) + 4 * d
    draws = DRAWS if compressor.uncorrelated else DRAWS // 16
    count = int(max(256, min(draws, WORK / cost) / share))
    rng = np.random.Generator(np.random.PCG64(6))
    width = max(1, (1 << 21) // max(cost, 1 if compressor.uncorrelated else d * d))
    values, controls = [], []
    for start in range(0, count, width):
        g = _draw(law, batch, min(width, count - start), rng)
        values.append(_added(compressor, g, inverse))
        controls.append(np.stack([g**2 @ np.diag(inverse), (g**2).sum(axis=1)], axis=1))
    y, x = np.concatenate(values), np.concatenate(controls)
    x -= [np.diag(moment) @ np.diag(inverse), np.trace(moment)]
    coefficients = np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(), rcond=None)[0]
    y = y - x @ coefficients
    return Estimate(float(y.mean()), float(y.std() / np.sqrt(count)))


def _draw(law: Law, batch: int, count: int, rng: np.random.Generator) -> Array:
    """Stochastic gradients at w*, (count, d)."""
    if isinstance(law, EmpiricalLaw):
        g = law.sample_gradients(law.clients[0])
        return g[rng.integers(len(g), size=(count, batch))].mean(axis=1)
    assert isinstance(law, GaussianLaw)
    delta = law.shift
    image = law.covariance.apply(delta)
    scale = float(delta @ image)
    along = np.sqrt(scale) * rng.standard_normal((count, batch))
    residual = along - np.sqrt(law.noise_variance) * rng.standard_normal((count, batch))
    root = np.sqrt(law.covariance.eigenvalues)[:, None]
    x = law.covariance.rotate(root * rng.standard_normal((len(delta), count))).T
    g = np.linalg.norm(residual, axis=1)[:, None] * x
    if scale > 0:  # x's part along Delta is the one that the residuals know of
        known = (along * residual).sum(axis=1)
        g += np.outer((known - g @ delta) / scale, image)
    return g / batch


MEMORY_ITERATIONS = 10_000
MEMORY_TOLERANCE = 1e-12


def memory_limits(setting: Setting) -> tuple[Array | None, Array]:
    """The eigenvalues of H^(-1/2) C_ania H^(-1/2), whose sum is Tr(C_ania H^-1), with control variates.

    First of memories as they are in the end at w*, then of ideal ones, h_i = m_i.

    V_i = Cov(h_i) solves 2 V = alpha c(Theta_i + V), None where it has no solution, and C_ania = N^-2 sum_i
    (1 - alpha/2) c(Theta_i + V_i); ideal memories have V = 0, N^-2 sum_i c(Theta_i)."""
    recursion, d = memory_recursion(setting, None), setting.population.dimension
    star = np.zeros((1, d + 1, d + 1))
    star[0, -1, -1] = 1.0
    thetas = [block.moments(star)[1] for block in recursion.blocks]
    ideal = [_compressed(setting, recursion, theta)[0] for theta in thetas]
    spreads = [_stationary(setting, recursion, theta) for theta in thetas]
    known = [theta + v for theta, v in zip(thetas, spreads, strict=True) if v is not None]
    if len(known) < len(thetas):
        return None, recursion.weights(ideal, star)
    scale = 1 - recursion.alpha / 2
    settled = [scale * _compressed(setting, recursion, moment)[0] for moment in known]
    return recursion.weights(settled, star), recursion.weights(ideal, star)


def _stationary(setting: Setting, recursion: MemoryRecursion, theta: Array) -> Array | None:
    """V, (1, d, d), by iteration; each contracts by alpha (1 + omega)/2."""
    v = np.zeros_like(theta)
    for _ in range(MEMORY_ITERATIONS):
        after = recursion.alpha / 2 * _compressed(setting, recursion, theta + v)
        change, v = np.abs(after - v).max(), after
        if not np.isfinite(change):
            return None
        if change <= MEMORY_TOLERANCE * np.abs(v).max():
            return v
    return None


def _compressed(setting: Setting, recursion: MemoryRecursion, moment: Array) -> Array:
    """c(M), (1, d, d), for M = `moment`, taken for that of a Gaussian where the compressor is not linear."""
    if not moment.any():
        return moment
    return moment + added_covariance(setting.compressor, moment[0], recursion.rotation)(moment)
