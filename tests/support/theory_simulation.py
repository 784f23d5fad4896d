"""Compressed stochastic gradient descent in plain NumPy, many repetitions at once, to compare the theory with."""

from __future__ import annotations

import numpy as np

from mpi_fed.compressors import Compressor
from mpi_fed.problems.population import EmpiricalClient, Population


def compress(compressor: Compressor, g: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """C(g) for each row of g (R, d), written from the definitions."""
    repetitions, d = g.shape
    match compressor.kind:
        case "none":
            return g
        case "bernoulli":
            return g * (rng.random(g.shape) < compressor.p) / compressor.p
        case "partial-participation":
            return g * (rng.random((repetitions, 1)) < compressor.p) / compressor.p
        case "rand-h":
            ranks = rng.random(g.shape).argsort(axis=1).argsort(axis=1)
            return g * (ranks < compressor.h) * d / compressor.h
        case "sketch":
            phi = rng.standard_normal((repetitions, compressor.h, d))
            turned = phi.transpose(0, 2, 1)
            return d / compressor.h * (turned @ np.linalg.solve(phi @ turned, phi @ g[:, :, None]))[..., 0]
        case "quantization":
            width = compressor.bucket or d
            parts = [_quantize(g[:, i : i + width], compressor.levels, rng) for i in range(0, d, width)]
            return np.concatenate(parts, axis=1)
    raise NotImplementedError


def _quantize(g: np.ndarray, levels: int, rng: np.random.Generator) -> np.ndarray:
    norm = np.linalg.norm(g, axis=1, keepdims=True)
    scaled = levels * np.abs(g) / np.where(norm > 0, norm, 1.0)
    return norm / levels * np.sign(g) * (np.floor(scaled) + (rng.random(g.shape) < scaled % 1))


def simulate(
    population: Population,
    compressor: Compressor,
    batch: int | None,
    gammas: np.ndarray,
    start: np.ndarray,
    rng: np.random.Generator,
    downlink: Compressor | None = None,
    alpha: float = 0.0,
    delayed: bool = False,
) -> np.ndarray:
    """Iterates (K+1, R, d) of R repetitions from `start` (R, d), one round for each of the K steps `gammas`.

    With `alpha` clients have memories, `downlink` compresses the direction of the step, and where gradients are
    `delayed` they are taken at the iterate before.
    """
    w, memories = [start], np.zeros((len(population.clients), *start.shape))
    for gamma in gammas:
        total = np.zeros_like(start)
        for client, memory in zip(population.clients, memories, strict=True):
            message = compress(
                compressor, _gradient(client, batch, w[-2 if delayed and len(w) > 1 else -1], rng) - memory, rng
            )
            total += memory + message
            memory += alpha * message
        direction = total / len(population.clients)
        w.append(w[-1] - gamma * (direction if downlink is None else compress(downlink, direction, rng)))
    return np.array(w)


def _gradient(client, batch: int | None, w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if isinstance(client, EmpiricalClient):
        x, y = client.features, client.targets
        if batch is None:
            return (w @ x.T - y) @ x / len(x)
        rows = rng.integers(len(x), size=(len(w), batch))
        return np.einsum("rb,rbd->rd", np.einsum("rbd,rd->rb", x[rows], w) - y[rows], x[rows]) / batch
    h = client.covariance.dense
    if batch is None:
        return (w - client.optimum) @ h
    x = rng.standard_normal((len(w), batch, len(h))) @ np.linalg.cholesky(h).T
    noise = np.sqrt(client.noise_variance) * rng.standard_normal((len(w), batch))
    residual = np.einsum("rbd,rd->rb", x, w - client.optimum) - noise
    return np.einsum("rb,rbd->rd", residual, x) / batch
