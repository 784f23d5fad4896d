"""Tr(C_ania H^-1) without the exact recursion: by closed forms if they exist, else by sampled gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance
from ..moments.compression_covariance import LinearCovariance
from ..moments.conditional_covariances import conditional_covariances
from ..moments.conditional_variances import FittedVariances
from ..moments.empirical_clients import EmpiricalClients
from ..moments.gaussian_clients import GaussianClients
from ..moments.gradient_moments import ClientGroup
from ..moments.gradients_at_optimum import draw_gradients, mean_gradient, moments_at_optimum
from ..moments.symmetric_packing import CHUNK, Array, unpack

DRAWS = 1 << 16
"""Number of gradients sampled, over all clients."""
WORK = 2e8
"""Largest number of random numbers that are drawn for these gradients."""


class Estimate(NamedTuple):
    """A value and its standard error. The standard error of an exact value is 0."""

    value: float
    standard_error: float


def limit_trace(
    groups: Sequence[ClientGroup],
    compressor: Compressor,
    batch: int | None,
    covariance: Covariance,
    downlink: Compressor | None = None,
) -> Estimate:
    """Return Tr(C_ania H^-1), where H = `covariance` is the mean of the clients' covariances.

    `batch` is the number of samples of a gradient (None: true gradients). `downlink` is the linear compressor of the
    mean message, or None.
    """
    inverse = covariance_inverse(covariance)
    if downlink is not None:  # Tr(c(C) H^-1) = Tr(C c*(H^-1))
        inverse = downlink.adjoint_second_moment(inverse)
    groups = [single for group in groups for single in group.single_clients()]
    clients = sum(group.weight for group in groups)
    parts = []
    for group in groups:
        value, error = _client_trace(group, compressor, batch, inverse, len(groups))
        parts.append((group.weight * value, group.weight * error))
    values, errors = np.array(parts).T
    return Estimate(float(values.sum()) / clients**2, float(np.linalg.norm(errors)) / clients**2)


def covariance_inverse(covariance: Covariance) -> Array:
    """Return H^-1 (d, d)."""
    inverse = covariance.rotate(np.diag(1 / covariance.eigenvalues))
    return covariance.rotate(np.ascontiguousarray(inverse.T))


def _client_trace(
    group: ClientGroup, compressor: Compressor, batch: int | None, inverse: Array, share: int
) -> Estimate:
    """Return Tr(Cov(C(g)) inverse) for one client at w*; `share` is the number of clients that share the draws."""
    mean, sampling = moments_at_optimum(group, batch)
    uncompressed = float((sampling * inverse).sum())
    value, error = _compression_trace(group, compressor, batch, inverse, mean + sampling, share)
    return Estimate(uncompressed + value, error)


def _compression_trace(
    group: ClientGroup, compressor: Compressor, batch: int | None, inverse: Array, moment: Array, share: int
) -> Estimate:
    """Return E Tr(Cov(C(g) | g) inverse) for one client at w*, where `moment` = E[g g^T]."""
    if compressor.linear:
        added = LinearCovariance(compressor).from_input(moment[None])[0]
        return Estimate(float((added * inverse).sum()), 0.0)
    if not batch:
        return Estimate(float(compression_traces(compressor, mean_gradient(group)[None], inverse)[0]), 0.0)
    scalable = compressor.homogeneous and compressor.uncorrelated
    if isinstance(group, GaussianClients) and scalable and not group.shifted:
        fitted, scale = FittedVariances(compressor, group.covariance), group.noise_variance / batch
        augmented = np.zeros((len(inverse) + 1, len(inverse) + 1))
        augmented[-1, -1] = scale
        value = scale * float(fitted.means() @ np.diag(inverse))
        return Estimate(value, fitted.standard_error(augmented, inverse))
    if isinstance(group, EmpiricalClients) and batch == 1 and (compressor.uncorrelated or _few_rows(group)):
        g = group.sample_gradients(group.clients[0])
        return Estimate(float(compression_traces(compressor, g, inverse).mean()), 0.0)
    return _drawn_trace(group, compressor, batch, inverse, moment, share)


def _few_rows(group: EmpiricalClients) -> bool:
    return len(group.clients[0].targets) <= DRAWS // 16


def compression_traces(compressor: Compressor, gradients: Array, inverse: Array) -> Array:
    """Return Tr(Cov(C(g) | g) inverse), of shape (n,), at gradients (n, d)."""
    if compressor.uncorrelated:
        return compressor.variances(gradients) @ np.diag(inverse)
    covariances = unpack(conditional_covariances(compressor, gradients), len(inverse))
    traces: Array = np.einsum("njk,jk->n", covariances, inverse)
    return traces


def _drawn_trace(
    group: ClientGroup, compressor: Compressor, batch: int, inverse: Array, moment: Array, share: int
) -> Estimate:
    """Return E Tr(Cov(C(g) | g) inverse) from draws of g; sum_j inverse_jj g_j^2 and |g|^2 are control variates."""
    d = len(inverse)
    cost = batch * (d if isinstance(group, EmpiricalClients) else 2) + 4 * d
    draws = DRAWS if compressor.uncorrelated else DRAWS // 16
    count = int(max(256, min(draws, WORK / cost) / share))
    rng = np.random.Generator(np.random.PCG64(6))
    width = max(1, CHUNK // max(cost, 1 if compressor.uncorrelated else d * d))
    values, controls = [], []
    for start in range(0, count, width):
        g = draw_gradients(group, batch, min(width, count - start), rng)
        values.append(compression_traces(compressor, g, inverse))
        controls.append(np.stack([g**2 @ np.diag(inverse), (g**2).sum(axis=1)], axis=1))
    y, x = np.concatenate(values), np.concatenate(controls)
    x -= [np.diag(moment) @ np.diag(inverse), np.trace(moment)]
    coefficients = np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(), rcond=None)[0]
    y = y - x @ coefficients
    return Estimate(float(y.mean()), float(y.std() / np.sqrt(count)))
