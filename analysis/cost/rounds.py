"""Rounds to a risk by theory: about T / (2 eps), T = Tr(C_ania H^-1), where noise is what is left of the risk.

T falls as 1/N in the number N of clients of a round, so what is needed is T of a single client. Closed forms hold for
linear compressors; for others E sum_j Var(C(x)_j | x) / lambda_j is a mean over draws of x ~ N(0, H)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...configuration import Configuration
from ...errors import InputError
from ...study import Study
from .recipe import Recipe

NUMBERS, FEWEST = 2e7, 32
"""Numbers drawn for a mean, and the fewest draws."""


class Trace(NamedTuple):
    """T of one client, and its standard error."""

    value: float
    error: float


Traces = Callable[[Recipe, int], Trace | None]
"""T of a recipe at a dimension; None where theory has none."""


@functools.cache
def bench_trace(recipe: Recipe, dimension: int) -> Trace | None:
    """For the bench's problem: x ~ N(0, diag(1/i)), noise of variance 1, batches of 1, sgd."""
    compressor = recipe.at(dimension)
    if compressor.biased:
        return None
    d, eigenvalues = dimension, 1 / np.arange(1.0, dimension + 1)
    coefficients = compressor.moment_coefficients(d) if compressor.linear else None
    if coefficients is not None:
        a, b, c = coefficients
        return Trace(float((a + b) * d + c * eigenvalues.sum() * (1 / eigenvalues).sum()), 0.0)
    if not (compressor.uncorrelated and compressor.homogeneous):
        return None
    rng, draws = np.random.Generator(np.random.PCG64(11)), int(max(FEWEST, min(4_000, NUMBERS / d)))
    values = []
    for _ in range(draws):
        x = np.sqrt(eigenvalues) * rng.standard_normal(d)
        values.append(float((compressor.variances(x) / eigenvalues).sum()))
    return Trace(d + float(np.mean(values)), float(np.std(values) / np.sqrt(draws)))


def study_traces(study: Study) -> tuple[Traces, int]:
    """T for the problem and algorithm of a study's first configuration, and the one dimension that it has.

    T of all its clients, times how many they are: where they differ, it is taken to fall as 1/N all the same."""
    from ...theory import predict

    first: Configuration = study.configurations[0]
    population = first.problem.prepare(first.clients)

    @functools.cache
    def trace(recipe: Recipe, dimension: int) -> Trace | None:
        found = predict(replace(first, compressor=recipe.at(dimension)), population)
        if found.limit_trace is None:
            return None
        return Trace(first.clients * found.limit_trace, first.clients * (found.limit_trace_error or 0.0))

    return trace, population.dimension


def rounds(trace: Trace, risk: float, clients: int) -> float:
    """T / (2 N eps)."""
    if risk <= 0:
        raise InputError(f"--risk {risk:g}: give a number above 0")
    return trace.value / (2 * risk * clients)
