"""The recursion that fits a configuration: on the diagonal, on the full moments, or with a frozen shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..compressors import Compressor
from ..problems.population import Population
from .added import exact_added, frozen_added
from .diagonal import diagonal_recursion
from .full import FullRecursion
from .laws import EmpiricalLaw, Law, laws
from .packing import Array, packed_size
from .propagate import OutOfReachError
from .recursion import Recursion

LARGEST_FULL = 300
"""Above this dimension the recursion on the full second moment is not tried."""
MEMORY = 4e9
"""Bytes that the maps of the clients may take."""
WORK = 2e13
"""Floating-point operations that they may take to set up."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What the recursion depends on."""

    population: Population
    compressor: Compressor
    batch: int | None  # None: true gradients


def exact_recursion(setting: Setting) -> Recursion | None:
    """The exact recursion, None where there is none. Raises OutOfReachError where it is too large."""
    members = laws(setting.population)
    on_diagonal = diagonal_recursion(members, setting.compressor, setting.batch)
    if on_diagonal is not None:
        return on_diagonal
    if not has_exact(setting):
        return None
    check_size(setting, members)
    added = exact_added(setting.compressor, members, setting.batch)
    assert added is not None
    return FullRecursion(setting.population.covariance, members, setting.batch, added)


def has_exact(setting: Setting) -> bool:
    """Whether the covariance added by compression is a linear map of the moments."""
    compressor = setting.compressor
    return compressor.linear or (setting.batch == 1 and compressor.homogeneous)


def check_size(setting: Setting, members: list[Law]) -> None:
    """Raise OutOfReachError where the full recursion takes too much time or memory to set up."""
    d = setting.population.dimension
    if d > LARGEST_FULL:
        raise OutOfReachError(f"the recursion on full moments is not run above dimension {LARGEST_FULL}")
    numbers = float(packed_size(d + 1))
    whole = not (setting.compressor.linear or setting.compressor.uncorrelated)
    memory, work = numbers * (numbers if whole else d), 0.0
    for law in members:
        if isinstance(law, EmpiricalLaw) and setting.batch:
            memory += numbers**2
            work += 2.0 * numbers**2 * sum(len(client.targets) for client in law.clients)
    if 8 * memory > MEMORY or work > WORK:
        raise OutOfReachError("the fourth moments of the clients' data take too long or too much memory")


def frozen_recursion(setting: Setting, second: Array) -> FullRecursion:
    """The recursion whose compression noise keeps the shape that it has at U = `second` (d+1, d+1)."""
    members = laws(setting.population)
    check_size(setting, members)
    added = frozen_added(setting.compressor, members, setting.batch, second)
    return FullRecursion(setting.population.covariance, members, setting.batch, added)


def reference_recursion(setting: Setting, mean: Array, variance: float) -> FullRecursion:
    """The recursion frozen at w*, or at the start where gradients vanish at w*."""
    d = setting.population.dimension
    star = np.zeros((d + 1, d + 1))
    star[-1, -1] = 1.0
    if any(law.gradient(star, setting.batch).any() for law in laws(setting.population)):
        return frozen_recursion(setting, star)
    u = np.append(mean, 1.0)
    return frozen_recursion(setting, np.outer(u, u) + variance * np.diag(np.arange(d + 1) < d))
