"""Compressed stochastic gradient descent in NumPy, many repetitions at once, for comparison with theory."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpi_fed.compressors import Compressor
from mpi_fed.compressors.base import Array
from mpi_fed.problems.population import EmpiricalClient, GaussianClient, Population


def compress(compressor: Compressor, g: Array, rng: np.random.Generator) -> Array:
    """Return C(g) for each row of g (R, d), written from the definitions."""
    repetitions, d = g.shape
    given: Any = compressor  # the kind decides which parameters it has
    result: Array
    match compressor.kind:
        case "none":
            result = g
        case "bernoulli":
            result = g * (rng.random(g.shape) < given.p) / given.p
        case "partial-participation":
            result = g * (rng.random((repetitions, 1)) < given.p) / given.p
        case "rand-h":
            order = rng.random(g.shape).argsort(axis=1).argsort(axis=1)
            result = g * (order < given.h) * d / given.h
        case "sketch":
            phi = rng.standard_normal((repetitions, given.h, d))
            transposed = phi.transpose(0, 2, 1)
            result = d / given.h * (transposed @ np.linalg.solve(phi @ transposed, phi @ g[:, :, None]))[..., 0]
        case "quantization":
            width = given.bucket or d
            parts = [_quantize(g[:, i : i + width], given.levels, rng) for i in range(0, d, width)]
            result = np.concatenate(parts, axis=1)
        case _:
            raise NotImplementedError
    return result


def _quantize(g: Array, levels: int, rng: np.random.Generator) -> Array:
    norm = np.linalg.norm(g, axis=1, keepdims=True)
    scaled = levels * np.abs(g) / np.where(norm > 0, norm, 1.0)
    result: Array = norm / levels * np.sign(g) * (np.floor(scaled) + (rng.random(g.shape) < scaled % 1))
    return result


def simulate(
    population: Population,
    compressor: Compressor,
    batch: int | None,
    gammas: Array,
    start: Array,
    rng: np.random.Generator,
    downlink: Compressor | None = None,
    alpha: float = 0.0,
    delayed: bool = False,
) -> Array:
    """Return the iterates, (K+1, R, d), of R repetitions from `start`, (R, d), with the K step sizes `gammas`.

    With alpha > 0 clients have memories; `downlink` compresses the direction of the step; `delayed` gradients are
    taken at the previous iterate.
    """
    w, memories = [start], np.zeros((len(population.clients), *start.shape))
    for gamma in gammas:
        total = np.zeros_like(start)
        for client, memory in zip(population.clients, memories, strict=True):
            message = compress(
                compressor, _gradient(client, batch, w[-2 if delayed and len(w) > 1 else -1], rng) - memory, rng
            )
            total += memory + message
            memory[:] += alpha * message
        direction = total / len(population.clients)
        w.append(w[-1] - gamma * (direction if downlink is None else compress(downlink, direction, rng)))
    return np.array(w)


def _gradient(client: GaussianClient | EmpiricalClient, batch: int | None, w: Array, rng: np.random.Generator) -> Array:
    result: Array
    if isinstance(client, EmpiricalClient):
        x, y = client.features, client.targets
        if batch is None:
            result = (w @ x.T - y) @ x / len(x)
            return result
        rows = rng.integers(len(x), size=(len(w), batch))
        result = np.einsum("rb,rbd->rd", np.einsum("rbd,rd->rb", x[rows], w) - y[rows], x[rows]) / batch
        return result
    h = client.covariance.dense
    if batch is None:
        result = (w - client.optimum) @ h
        return result
    x = rng.standard_normal((len(w), batch, len(h))) @ np.linalg.cholesky(h).T
    noise = np.sqrt(client.noise_variance) * rng.standard_normal((len(w), batch))
    residual = np.einsum("rbd,rd->rb", x, w - client.optimum) - noise
    result = np.einsum("rb,rbd->rd", residual, x) / batch
    return result
