"""Fixed vectors x that are compressed."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from .cases import FULL

Array = NDArray[np.float64]

SMALLEST = 2.0**-10
"""Smallest magnitude in x. Smaller magnitudes are raised to this one, so that the coarse subnormals of float16 do not
disturb the statistics."""


@functools.cache
def statistical_vectors(dimension: int) -> dict[str, Array]:
    """Return vectors of shape (d,) by name: Gaussian, heavy-tailed with exact zeros, one coordinate, equal coordinates.

    Above 64 dimensions there are two vectors: one half Gaussian and half heavy-tailed, one with equal coordinates. With
    equal coordinates <C(x), x> counts the coordinates that a mask keeps, which reveals the smallest bias.
    """
    draw = np.random.default_rng(dimension)
    gaussian = _lifted(draw.standard_normal(dimension))
    heavy = _lifted(np.clip(draw.standard_t(2, dimension), -300, 300))
    equal = {"x of equal coordinates": np.full(dimension, 0.75)}
    if dimension > FULL:
        gaussian[dimension // 2 :] = heavy[dimension // 2 :]
        return {"half Gaussian, half heavy-tailed x": gaussian} | equal
    heavy[3::7] = 0.0
    single = np.zeros(dimension)
    single[dimension // 3] = -1.7
    if dimension == 1:
        return {"x of one coordinate": single} | equal
    return {"Gaussian x": gaussian, "heavy-tailed x": heavy, "x of one coordinate": single} | equal


def _lifted(x: Array) -> Array:
    return np.copysign(np.maximum(np.abs(x), SMALLEST), x)


def representable(dimension: int) -> Array:
    """Return a vector (shape (d,)) of numbers that every float format holds exactly, of magnitudes 1/64 to 8."""
    j = np.arange(dimension)
    signed: Array = np.where(j % 2, -1.0, 1.0) * (1 + 7 * j % 512) / 64
    return signed


def subnormal(dimension: int) -> Array:
    """Return a vector (shape (d,)) of the smallest float64 numbers, with zeros among them."""
    j = np.arange(dimension)
    return np.where(j % 2, -5e-324, 5e-324) * (j % 5)


def huge(dimension: int, value_bits: int) -> Array:
    """Return a vector (shape (d,)) of ones and one number near the largest of the format.

    The number leaves room for a norm or a sketch.
    """
    x = np.ones(dimension)
    x[dimension // 2] = {16: 65504 / 32, 32: 2.0**123, 64: 1e300}[value_bits]
    return x
