"""The limit as the step size vanishes, from C_ania: by the exact recursion if it exists, else by other means."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...compressors.none import NoCompression
from ..document import Limit
from ..moments.gradient_moments import client_groups
from ..moments.symmetric_packing import Array
from ..recursions.base import Recursion
from ..recursions.choose import full_recursion
from ..recursions.diagonal_moments import DiagonalMomentsRecursion
from ..recursions.propagate import OutOfReachError
from ..run_model import RunModel
from .control_variates import control_variates_limits
from .limit_trace import limit_trace
from .nonlinear_downlink import added_by_downlink

LARGEST_DENSE = 2000
"""Largest dimension for which a limit is computed without the recursion on the diagonal."""


def limit(model: RunModel, recursion: Recursion | None) -> Limit:
    """Return the limit trace Tr(C_ania H^-1) and, if they are known, the weights of the limit distribution.

    `recursion` is the exact recursion without delay, or None.
    """
    if recursion is not None and model.alpha is None:
        return _from_recursion(model, recursion)
    if model.population.dimension > LARGEST_DENSE or (model.common_mask and model.alpha is not None):
        return Limit()
    if model.alpha is not None:
        return _with_control_variates(model)
    if model.common_mask and model.batch is None:
        return Limit(0.0, 0.0)  # the mean gradient is 0 at w*
    if model.nonlinear_downlink:
        return _with_nonlinear_downlink(model)
    return _with_common_mask(model) if model.common_mask else _from_gradients(model)


def limit_covariance(model: RunModel) -> Array | None:
    """Return C_ania (d, d), the covariance of the mean message at w*, from sampling and compression.

    It is None with memories, or if the compressor's covariance has no exact form. Raises OutOfReachError if the full
    recursion is too large.
    """
    recursion = full_recursion(model)
    if recursion is None:
        return None
    return recursion.noise_covariance(recursion.core_of(np.zeros(model.population.dimension), 0.0))


def _from_recursion(model: RunModel, recursion: Recursion) -> Limit:
    star = recursion.core_of(np.zeros(model.population.dimension), 0.0)
    trace, error = recursion.noise_trace(star), recursion.noise_standard_error(star)
    return Limit(trace, error, limit_weights=_limit_weights(model, recursion, star))


def _limit_weights(model: RunModel, recursion: Recursion, star: Array) -> list[float] | None:
    """Return the weights of the limit distribution.

    They come from the recursion on full moments if the clients' optima differ, since the covariance at w* is then not
    diagonal.
    """
    if not isinstance(recursion, DiagonalMomentsRecursion) or not recursion.group.shifted:
        return _sorted(recursion.noise_weights(star))
    try:
        full = full_recursion(model)
    except OutOfReachError:
        return None
    return None if full is None else _sorted(full.noise_weights(full.core_of(np.zeros(len(full.eigenvalues)), 0.0)))


def _with_control_variates(model: RunModel) -> Limit:
    settled, ideal = control_variates_limits(model)
    if settled is None:
        return Limit(None, 0.0, _sum(ideal))
    return Limit(_sum(settled), 0.0, _sum(ideal), _sorted(settled))


def _with_nonlinear_downlink(model: RunModel) -> Limit:
    """Return the limit of the run without a compressed downlink, plus the trace that the downlink adds."""
    population, downlink, plain = model.population, model.downlink, replace(model, downlink=None)
    uplink = _with_common_mask(plain) if model.common_mask else _from_gradients(plain)
    if downlink is None or uplink.limit_trace is None or uplink.limit_trace_error is None:
        return Limit()
    groups = client_groups(population)
    added = added_by_downlink(groups, model.compressor, model.batch, population.covariance, downlink)
    if added is None:
        return Limit()
    return Limit(uplink.limit_trace + added.value, math.hypot(uplink.limit_trace_error, added.standard_error))


def _with_common_mask(model: RunModel) -> Limit:
    """Return Tr(C_ania H^-1) for a common mask, where C_ania = c(S_0).

    All clients use the same linear map C. So the mean message is C(v), where v is the mean gradient. At w* the mean of
    v is 0, whatever the clients' optima are, and its covariance S_0 is the C_ania of a run without compression.
    Different optima therefore do not increase this limit, even without memories. With true gradients it is 0.
    """
    try:
        uncompressed = limit_covariance(replace(model, compressor=NoCompression(), downlink=None))
    except OutOfReachError:
        return Limit()
    if uncompressed is None:
        return Limit()
    noise = model.compressor.second_moment(uncompressed)
    if model.downlink is not None:
        noise = model.downlink.second_moment(noise)
    return Limit(float(np.trace(np.linalg.solve(model.population.covariance.dense, noise))), 0.0)


def _from_gradients(model: RunModel) -> Limit:
    """Return the limit by closed forms or by sampled gradients."""
    groups, covariance = client_groups(model.population), model.population.covariance
    estimate = limit_trace(groups, model.compressor, model.batch, covariance, model.downlink)
    return Limit(estimate.value, estimate.standard_error)


def _sorted(eigenvalues: Array) -> list[float]:
    """Return the eigenvalues, none below 0, the largest first."""
    weights: list[float] = np.sort(np.maximum(eigenvalues, 0.0))[::-1].tolist()
    return weights


def _sum(eigenvalues: Array) -> float:
    return max(0.0, float(eigenvalues.sum()))
