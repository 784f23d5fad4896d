"""The choice of a model's recursion: on the diagonal, on full moments, with memories, or with a frozen noise shape."""

from __future__ import annotations

import numpy as np

from ..moments.compression_covariance import exact_covariance, frozen_covariance
from ..moments.empirical_clients import EmpiricalClients
from ..moments.gradient_moments import ClientGroup, client_groups
from ..moments.symmetric_packing import Array, packed_size, unpack
from ..run_model import RunModel
from .base import Recursion
from .build_control_variates import control_variates_recursion, empty_memories
from .delayed_gradients import delayed
from .diagonal_moments import diagonal_recursion
from .full_moments import FullMomentsRecursion
from .propagate import OutOfReachError

LARGEST_FULL = 300
"""Largest dimension for the recursion on the full second moment."""
MEMORY = 4e9
"""Largest number of bytes for the matrices that map U to the clients' moments."""
WORK = 2e13
"""Largest number of floating-point operations to compute these matrices."""


def exact_recursion(model: RunModel) -> Recursion | None:
    """Return the exact recursion, or None if it does not exist. Raises OutOfReachError if it would be too large."""
    plain: Recursion | None
    groups = client_groups(model.population)
    if model.alpha is not None:
        check_size(model, groups)
        return control_variates_recursion(model) if has_exact(model) else None
    plain = diagonal_recursion(groups, model.compressor, model.batch, model.downlink)
    if plain is None:
        plain = full_recursion(model)
    return delayed(plain) if model.delayed and plain is not None else plain


def full_recursion(model: RunModel) -> FullMomentsRecursion | None:
    """Return the exact recursion on full moments, without delay, or None if it does not exist.

    It is returned even if the recursion on the diagonal is exact, too. Raises OutOfReachError if it is too large.
    """
    groups = client_groups(model.population)
    if model.alpha is not None or not has_exact(model):
        return None
    check_size(model, groups)
    compression = exact_covariance(model.compressor, groups, model.batch)
    assert compression is not None
    return FullMomentsRecursion(model.population.covariance, groups, model.batch, compression, model.downlink)


def has_exact(model: RunModel) -> bool:
    """Return True if the covariance that compression adds is a linear map of the moments."""
    compressor = model.compressor
    return compressor.linear or (model.alpha is None and model.batch == 1 and compressor.homogeneous)


def check_size(model: RunModel, groups: list[ClientGroup]) -> None:
    """Raise OutOfReachError if the full recursion takes too much time or memory to set up."""
    d = model.population.dimension
    if d > LARGEST_FULL:
        raise OutOfReachError(f"the recursion on full moments is limited to dimension {LARGEST_FULL}")
    numbers = float(packed_size(d + 1))
    whole = not (model.compressor.linear or model.compressor.uncorrelated)
    memory, work = numbers * (numbers if whole else d), 0.0
    for group in groups:
        if isinstance(group, EmpiricalClients) and model.batch:
            memory += numbers**2
            work += 2.0 * numbers**2 * sum(len(client.targets) for client in group.clients)
    if 8 * memory > MEMORY or work > WORK:
        raise OutOfReachError("the fourth moments of the clients' data take too long or too much memory")


def frozen_recursion(model: RunModel, core: Array) -> Recursion:
    """Return the recursion whose compression noise keeps the shape that the noise has at this core."""
    if model.alpha is not None:
        return control_variates_recursion(model, core)
    plain_size = packed_size(model.population.dimension + 1)
    if model.delayed:
        core = np.append(core[: plain_size - 1], core[-1])
    return _frozen_at(model, unpack(core, model.population.dimension + 1))


def _frozen_at(model: RunModel, second: Array) -> Recursion:
    """Return the recursion without memories whose compression noise keeps the shape of the noise at U = `second`."""
    groups = client_groups(model.population)
    check_size(model, groups)
    compression = frozen_covariance(model.compressor, groups, model.batch, second)
    plain = FullMomentsRecursion(model.population.covariance, groups, model.batch, compression, model.downlink)
    return delayed(plain) if model.delayed else plain


def reference_recursion(model: RunModel, mean: Array, variance: float) -> Recursion:
    """Return the recursion with the noise's shape frozen at w*, or at the start.

    The start is used with memories, or if all gradients vanish at w*. There eta has the mean `mean` (d,) and the
    covariance `variance` I.
    """
    d = model.population.dimension
    if model.alpha is not None:
        return control_variates_recursion(model, empty_memories(model, mean, variance))
    if _noisy_at_optimum(model):
        return _frozen_at(model, _at_optimum(d))
    u = np.append(mean, 1.0)
    return _frozen_at(model, np.outer(u, u) + variance * np.diag(np.arange(d + 1) < d))


def reference_name(model: RunModel) -> str:
    """Return a name for the point at which the reference recursion is frozen."""
    return "w*" if model.alpha is None and _noisy_at_optimum(model) else "the start"


def _noisy_at_optimum(model: RunModel) -> bool:
    star, groups = _at_optimum(model.population.dimension), client_groups(model.population)
    return any(group.gradient_moment(star, model.batch).any() for group in groups)


def _at_optimum(d: int) -> Array:
    """Return U (d + 1, d + 1) at w*."""
    star = np.zeros((d + 1, d + 1))
    star[-1, -1] = 1.0
    return star
