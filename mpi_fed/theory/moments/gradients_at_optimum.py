"""Mean, second moments and random draws of a client's stochastic gradient at w*.

At w* a Gaussian client's gradient of b samples is, with a_m = <x_m, Delta> and r_m = a_m - eps_m,
    g = (1/b) sum_m r_m x_m = (a . r / b) c + (|r| / b) R^(1/2) z,   z ~ N(0, I) independent of (a, r),
c = H Delta / (Delta^T H Delta), R = H - H Delta Delta^T H / (Delta^T H Delta). So a draw needs only one vector z,
whatever b is. Without a shift (Delta = 0) g = (|eps| / b) H^(1/2) z. Then for a homogeneous compressor
E[C(g) C(g)^T] = (sigma^2/b) E[C(x) C(x)^T].
"""

from __future__ import annotations

import numpy as np

from .empirical_clients import EmpiricalClients
from .gaussian_clients import GaussianClients
from .gradient_moments import ClientGroup
from .symmetric_packing import Array


def mean_gradient(group: ClientGroup) -> Array:
    """Return E g at w*, of shape (d,), for a group of one distinct client."""
    if isinstance(group, EmpiricalClients):
        mean: Array = group.sample_gradients(group.clients[0]).mean(axis=0)
        return mean
    assert isinstance(group, GaussianClients)
    return group.covariance.apply(group.shift)


def moments_at_optimum(group: ClientGroup, batch: int | None) -> tuple[Array, Array]:
    """Return m m^T and Cov(g) at w*, of shape (d, d) each."""
    mean = np.outer(mean_gradient(group), mean_gradient(group))
    if not batch:
        return mean, np.zeros_like(mean)
    if isinstance(group, EmpiricalClients):
        g = group.sample_gradients(group.clients[0])
        return mean, (g.T @ g / len(g) - mean) / batch
    assert isinstance(group, GaussianClients)
    scale = group.noise_variance + group.shift @ group.covariance.apply(group.shift)
    return mean, (scale * group.covariance.dense + mean) / batch


def draw_gradients(group: ClientGroup, batch: int, count: int, rng: np.random.Generator) -> Array:
    """Return `count` stochastic gradients at w*, of shape (count, d)."""
    if isinstance(group, EmpiricalClients):
        g = group.sample_gradients(group.clients[0])
        means: Array = g[rng.integers(len(g), size=(count, batch))].mean(axis=1)
        return means
    assert isinstance(group, GaussianClients)
    delta = group.shift
    image = group.covariance.apply(delta)
    scale = float(delta @ image)
    along = np.sqrt(scale) * rng.standard_normal((count, batch))
    residual = along - np.sqrt(group.noise_variance) * rng.standard_normal((count, batch))
    root = np.sqrt(group.covariance.eigenvalues)[:, None]
    x = group.covariance.rotate(root * rng.standard_normal((len(delta), count))).T
    g = np.linalg.norm(residual, axis=1)[:, None] * x
    if scale > 0:  # the component of x along Delta must be the one in the residuals
        products = (along * residual).sum(axis=1)
        g += np.outer((products - g @ delta) / scale, image)
    gradients: Array = g / batch
    return gradients
