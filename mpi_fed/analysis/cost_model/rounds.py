"""Predict the rounds to a risk eps: about T / (2 eps), T = Tr(C_ania H^-1), once noise dominates the risk.

T falls as 1/N in the number N of clients of a round, so T of a single client suffices; a common mask does not change
T. For linear compressors T has a closed form; for others, E sum_j Var(C(x)_j | x) / lambda_j is a mean over draws of
x ~ N(0, H). A compressed downlink compresses the mean message. If its compressor is linear, T again has a closed form;
if it is a quantization, it adds a term that depends on N (`downlink_noise.py`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...compressors import Compressor
from ...errors import InputError
from ...study.configuration import Configuration
from ...study.load import Study
from .downlink_noise import downlink_noise
from .recipe import Recipe

Array = NDArray[np.float64]
NUMBERS, FEWEST = 2e7, 32
"""Number of normals to draw for a mean, and the smallest number of draws."""


class Trace(NamedTuple):
    """The limit trace T of one client, and its standard error."""

    value: float
    error: float


Traces = Callable[[Recipe, int, Recipe | None, int], Trace | None]
"""A function of (recipe, dimension, downlink's recipe, clients N) that returns N T, or None without a prediction."""


@functools.cache
def bench_trace(recipe: Recipe, dimension: int, down: Recipe | None = None, clients: int = 1) -> Trace | None:
    """Return N T for the bench's problem: x ~ N(0, diag(1/i)), noise of variance 1, batches of 1, sgd."""
    if recipe.joint_route and clients > 1:
        return None
    if down is None:
        return _plain(recipe, dimension)
    back, eigenvalues = down.at(dimension), 1 / np.arange(1.0, dimension + 1)
    if back.linear:
        weights = _adjoint(back, 1 / eigenvalues)
        return None if weights is None else _weighted(recipe.at(dimension), eigenvalues, weights)
    plain, added = _plain(recipe, dimension), downlink_noise(recipe.at(dimension), back, eigenvalues, clients)
    if plain is None or added is None:
        return None
    return Trace(plain.value + added[0], math.hypot(plain.error, added[1]))


def _adjoint(down: Compressor, weights: Array) -> Array | None:
    """Return w' (shape (d,)) with <w', diag M> = <w, diag c_down(M)> for diagonal M; None if c_down is unknown."""
    coefficients = down.moment_coefficients(len(weights))
    if coefficients is None:
        return None
    a, b, c = coefficients
    adjoint: Array = (a + b) * weights + c * weights.sum()
    return adjoint


@functools.cache
def _plain(recipe: Recipe, dimension: int) -> Trace | None:
    """Return T for an uncompressed downlink."""
    eigenvalues = 1 / np.arange(1.0, dimension + 1)
    return _weighted(recipe.at(dimension), eigenvalues, 1 / eigenvalues)


def _weighted(compressor: Compressor, eigenvalues: Array, weights: Array) -> Trace | None:
    """Return sum_j weights_j E[C(x)_j^2] for x ~ N(0, diag(eigenvalues)).

    `eigenvalues` and `weights` have shape (d,).
    """
    d = len(eigenvalues)
    coefficients = compressor.moment_coefficients(d) if compressor.linear else None
    if coefficients is not None:
        a, b, c = coefficients
        return Trace(float((a + b) * (eigenvalues @ weights) + c * eigenvalues.sum() * weights.sum()), 0.0)
    if compressor.biased or not (compressor.uncorrelated and compressor.homogeneous):
        return None
    rng, draws = np.random.Generator(np.random.PCG64(11)), int(max(FEWEST, min(4_000, NUMBERS / d)))
    values = []
    for _ in range(draws):
        x = np.sqrt(eigenvalues) * rng.standard_normal(d)
        values.append(float(compressor.variances(x) @ weights))
    return Trace(float(eigenvalues @ weights + np.mean(values)), float(np.std(values) / np.sqrt(draws)))


def study_traces(study: Study) -> tuple[Traces, int]:
    """Return N T as a function, for the problem and algorithm of a study's first configuration, and its dimension.

    T is computed for all N clients of the study; T is assumed to fall as 1/N even if the clients differ.
    """
    from ...theory import predict

    first: Configuration = study.configurations[0]
    population = first.problem.prepare(first.clients)

    @functools.cache
    def trace(recipe: Recipe, dimension: int, down: Recipe | None = None, clients: int = 1) -> Trace | None:
        if recipe.joint_route and max(first.clients, clients) > 1:
            return None
        back = None if down is None else down.at(dimension)
        prediction = predict(replace(first, compressor=recipe.at(dimension), downlink=back), population)
        if prediction.limit_trace is None:
            return None
        return Trace(first.clients * prediction.limit_trace, first.clients * (prediction.limit_trace_error or 0.0))

    return trace, population.dimension


def rounds(trace: Trace, risk: float, clients: int) -> float:
    """Return T / (2 N eps) for T of one client, N clients a round, and the risk eps. Raises InputError if eps <= 0."""
    if risk <= 0:
        raise InputError(f"--risk {risk:g}: give a number above 0")
    return trace.value / (2 * risk * clients)
