"""Construction of the recursion with control variates: blocks of clients, and the covariance that compression adds."""

from __future__ import annotations

import numpy as np

from ...problems.population import Covariance, Population
from ..moments.covariance_from_input import (
    CovarianceFromInput,
    covariance_from_input,
    linear_covariance_from_input,
    no_covariance,
)
from ..moments.empirical_clients import EmpiricalClients
from ..moments.gaussian_clients import GaussianClients
from ..moments.gradient_moments import ClientGroup, client_groups
from ..moments.symmetric_packing import Array
from ..run_model import RunModel
from .control_variates import ControlVariatesRecursion
from .control_variates_blocks import Block, EmpiricalBlock, GaussianBlock

ROUNDING = 1e-11
"""E||g - h||^2 is a rounding error if its ratio to E||h||^2 is below this number."""


def control_variates_recursion(model: RunModel, core: Array | None = None) -> ControlVariatesRecursion:
    """Return the recursion with memories.

    It is exact if the compressor is linear. Otherwise the shape of the compression noise is frozen at `core`; without a
    `core`, compression adds no noise.
    """
    population, compressor = model.population, model.compressor
    groups, rotation = _groups(population)
    assert model.alpha is not None
    if compressor.linear:
        inputs = [np.eye(population.dimension)] * len(groups)
    elif core is None:
        inputs = []
    else:
        inputs = _inputs(control_variates_recursion(model), core)
    compressions = [covariance_from_input(compressor, moment, rotation) for moment in inputs]
    compressions = compressions or [no_covariance] * len(groups)
    blocks = [_block(group, model.batch, added) for group, added in zip(groups, compressions, strict=True)]
    downlink = None
    if model.downlink is not None:
        downlink = linear_covariance_from_input(model.downlink, population.dimension, rotation)
    return ControlVariatesRecursion(population.covariance, blocks, model.alpha, rotation, downlink)


def empty_memories(model: RunModel, mean: Array, variance: float) -> Array:
    """Return the core of memories equal to 0 and of an eta with mean `mean` (d,) and covariance `variance` I."""
    return control_variates_recursion(model).core_of(mean, variance)


def _groups(population: Population) -> tuple[list[ClientGroup], Covariance | None]:
    """Return one group for each block, and the eigenbasis of the groups' moments; None for the original basis."""
    groups = client_groups(population)
    if len(groups) == 1 and isinstance(groups[0], GaussianClients):
        group = groups[0]
        diagonal = Covariance(group.covariance.eigenvalues)
        deltas = np.ascontiguousarray(group.covariance.unrotate(group.deltas.T).T)
        return [GaussianClients(diagonal, group.weights, deltas, group.noise_variances)], group.covariance
    parts = [group.single_clients() if isinstance(group, EmpiricalClients) else [group] for group in groups]
    return [group for part in parts for group in part], None


def _block(group: ClientGroup, batch: int | None, compression: CovarianceFromInput) -> Block:
    if isinstance(group, EmpiricalClients):
        return EmpiricalBlock(group, batch, compression)
    assert isinstance(group, GaussianClients)
    return GaussianBlock(group, batch, compression)


def _inputs(recursion: ControlVariatesRecursion, core: Array) -> list[Array]:
    """Return D = E[(g - h)(g - h)^T] of each block, (d, d), in the recursion's basis; 0 if D is a rounding error."""
    second = recursion.layout.error(core[None])
    inputs = []
    for block, moments in zip(recursion.blocks, recursion.layout.blocks(core[None]), strict=True):
        mean, sampling = block.gradient_moments(second)
        cross = block.gradient_memory(moments)
        difference = recursion.difference(mean + sampling, cross, moments.memory)[0]
        inputs.append(difference * (np.trace(difference) > ROUNDING * np.trace(moments.memory[0])))
    return inputs
