"""The trace that a nonlinear downlink adds to the limit, from sampled mean messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance
from ..moments.gradient_moments import ClientGroup
from ..moments.gradients_at_optimum import draw_gradients, mean_gradient
from ..moments.symmetric_packing import CHUNK, Array
from .limit_trace import DRAWS, WORK, Estimate, compression_traces, covariance_inverse

FEWEST = 64
"""Least number of sampled mean messages."""


def added_by_downlink(
    groups: Sequence[ClientGroup],
    compressor: Compressor,
    batch: int | None,
    covariance: Covariance,
    downlink: Compressor,
) -> Estimate | None:
    """Return an estimate of E Tr(Cov(C_down(t) | t) H^-1) over sampled mean messages t at w*.

    The noise of a downlink that is not linear depends on the whole distribution of t. The limit trace is this estimate
    plus the limit trace without a compressed downlink. The estimate is None if messages cannot be sampled, or if N d is
    too large.
    """
    groups = [single for group in groups for single in group.single_clients()]
    clients, inverse = round(sum(group.weight for group in groups)), covariance_inverse(covariance)
    d, rng = len(inverse), np.random.Generator(np.random.PCG64(7))
    count = int(min(DRAWS if downlink.uncorrelated else DRAWS // 16, WORK / (clients * d * (4 + 2 * (batch or 1)))))
    if count < FEWEST:
        return None
    width, values = max(1, CHUNK // (clients * d * (batch or 1))), []
    for start in range(0, count, width):
        messages = _mean_messages(groups, compressor, batch, min(width, count - start), rng)
        if messages is None:
            return None
        values.append(compression_traces(downlink, messages, inverse))
    traces = np.concatenate(values)
    return Estimate(float(traces.mean()), float(traces.std() / np.sqrt(count)))


def _mean_messages(
    groups: Sequence[ClientGroup], compressor: Compressor, batch: int | None, count: int, rng: np.random.Generator
) -> Array | None:
    """Return mean messages at w*, of shape (count, d), or None if the compressor does not define `sampled`."""
    clients = round(sum(group.weight for group in groups))
    total: Array | float = 0.0
    for group in groups:
        n = count * group.weight
        gradients = draw_gradients(group, batch, n, rng) if batch else np.tile(mean_gradient(group), (n, 1))
        try:
            messages = gradients if compressor.common else compressor.sampled(gradients, rng)
        except NotImplementedError:
            return None
        total = total + messages.reshape(count, group.weight, -1).sum(axis=1) / clients
    return compressor.sampled(np.asarray(total), rng) if compressor.common else np.asarray(total)
