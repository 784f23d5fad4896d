"""Compressors and recursions for the tests of theory."""

from __future__ import annotations

from typing import Any

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import Compressor, compressors
from mpi_fed.theory.fixed_step import fixed_step
from mpi_fed.theory.moments.symmetric_packing import Array
from mpi_fed.theory.recursions.base import Recursion
from mpi_fed.theory.recursions.choose import exact_recursion
from mpi_fed.theory.run_model import RunModel


def compressor_of(kind: str, dimension: int, **parameters: Any) -> Compressor:
    """Return a compressor with every parameter set for this dimension."""
    return compressors[kind](**parameters).resolve(dimension)


def recursion_of(model: RunModel) -> Recursion:
    """Return the exact recursion of a model that has one."""
    recursion = exact_recursion(model)
    assert recursion is not None
    return recursion


def plateau_trace(recursion: Recursion, gamma: float) -> float:
    """Return the plateau trace at a stable fixed step size."""
    trace = fixed_step(recursion, Steps(gamma)).plateau_trace
    assert trace is not None
    return trace


def stationary_core(recursion: Recursion, gamma: float) -> Array:
    """Return the stationary core at a stable fixed step size."""
    core = recursion.stationary(gamma)
    assert core is not None
    return core
