"""The recursion that fits a configuration: on the diagonal, on the full moments, or with a frozen shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance, Population
from ..moments.compression_covariance import (
    AddedCovariance,
    added_covariance,
    exact_added,
    frozen_added,
    linear_covariance,
    no_covariance,
)
from ..moments.gradient_moments import EmpiricalLaw, GaussianLaw, Law, laws
from ..moments.symmetric_packing import Array, packed_size, unpack
from .base import Recursion
from .control_variates import Block, EmpiricalBlock, GaussianBlock, MemoryRecursion
from .delayed import delayed
from .diagonal import diagonal_recursion
from .full import FullRecursion
from .propagate import OutOfReachError

LARGEST_FULL = 300
"""Above this dimension the recursion on the full second moment is not tried."""
MEMORY = 4e9
"""Bytes that the maps of the clients may take."""
ROUNDING = 1e-11
"""Beside the memories, a difference of gradients and memories below this share is rounding."""
WORK = 2e13
"""Floating-point operations that they may take to set up."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What the recursion depends on."""

    population: Population
    compressor: Compressor
    batch: int | None  # None: true gradients
    alpha: float | None = None  # the rate of the clients' memories; None where they have none
    downlink: Compressor | None = None  # a linear compressor of the mean message; None where it arrives as it is
    delayed: bool = False  # gradients are those of a round ago; not with memories


def exact_recursion(setting: Setting) -> Recursion | None:
    """The exact recursion, None where there is none. Raises OutOfReachError where it is too large."""
    plain: Recursion | None
    members = laws(setting.population)
    if setting.alpha is not None:
        check_size(setting, members)
        return memory_recursion(setting) if has_exact(setting) else None
    plain = diagonal_recursion(members, setting.compressor, setting.batch, setting.downlink)
    if plain is None:
        plain = full_recursion(setting)
    return delayed(plain) if setting.delayed and plain is not None else plain


def full_recursion(setting: Setting) -> FullRecursion | None:
    """The exact recursion on full moments, even where the diagonal would do, of gradients that are not late; None where
    there is none."""
    members = laws(setting.population)
    if setting.alpha is not None or not has_exact(setting):
        return None
    check_size(setting, members)
    added = exact_added(setting.compressor, members, setting.batch)
    assert added is not None
    return FullRecursion(setting.population.covariance, members, setting.batch, added, setting.downlink)


def has_exact(setting: Setting) -> bool:
    """Whether the covariance added by compression is a linear map of the moments."""
    compressor = setting.compressor
    return compressor.linear or (setting.alpha is None and setting.batch == 1 and compressor.homogeneous)


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


def frozen_recursion(setting: Setting, core: Array) -> Recursion:
    """The recursion whose compression noise keeps the shape that it has at this core of its own."""
    if setting.alpha is not None:
        return memory_recursion(setting, core)
    own = packed_size(setting.population.dimension + 1)
    if setting.delayed:
        core = np.append(core[: own - 1], core[-1])
    return _frozen_at(setting, unpack(core, setting.population.dimension + 1))


def _frozen_at(setting: Setting, second: Array) -> Recursion:
    """The same at U = `second`, (d + 1, d + 1)."""
    members = laws(setting.population)
    check_size(setting, members)
    added = frozen_added(setting.compressor, members, setting.batch, second)
    plain = FullRecursion(setting.population.covariance, members, setting.batch, added, setting.downlink)
    return delayed(plain) if setting.delayed else plain


def reference_recursion(setting: Setting, mean: Array, variance: float) -> Recursion:
    """The recursion frozen at w*, or at the start where gradients vanish at w* or memories are empty."""
    d = setting.population.dimension
    if setting.alpha is not None:
        return memory_recursion(setting, empty_memories(setting, mean, variance))
    if _noisy_at_optimum(setting):
        return _frozen_at(setting, _at_optimum(d))
    u = np.append(mean, 1.0)
    return _frozen_at(setting, np.outer(u, u) + variance * np.diag(np.arange(d + 1) < d))


def reference_name(setting: Setting) -> str:
    """Where the reference recursion is frozen."""
    return "w*" if setting.alpha is None and _noisy_at_optimum(setting) else "the start"


def _noisy_at_optimum(setting: Setting) -> bool:
    star = _at_optimum(setting.population.dimension)
    return any(law.gradient(star, setting.batch).any() for law in laws(setting.population))


def _at_optimum(d: int) -> Array:
    """U, (d + 1, d + 1), at w*."""
    star = np.zeros((d + 1, d + 1))
    star[-1, -1] = 1.0
    return star


def memory_recursion(setting: Setting, core: Array | None = None) -> MemoryRecursion:
    """The recursion with memories: exact for linear compressors, else with the noise's shape frozen at `core`.

    Without that, compression adds nothing."""
    population, compressor = setting.population, setting.compressor
    members, rotation = _memory_laws(population)
    assert setting.alpha is not None
    if compressor.linear:
        moments = [np.eye(population.dimension)] * len(members)
    elif core is None:
        moments = []
    else:
        moments = _differences(memory_recursion(setting), core)
    added = [added_covariance(compressor, m, rotation) for m in moments] or [no_covariance] * len(members)
    blocks = [_block(law, setting.batch, w) for law, w in zip(members, added, strict=True)]
    downlink = None
    if setting.downlink is not None:
        downlink = linear_covariance(setting.downlink, population.dimension, rotation)
    return MemoryRecursion(population.covariance, blocks, setting.alpha, rotation, downlink)


def empty_memories(setting: Setting, mean: Array, variance: float) -> Array:
    """The core of an eta with this mean (d,) and covariance `variance` I, and empty memories."""
    return memory_recursion(setting).core_of(mean, variance)


def _memory_laws(population: Population) -> tuple[list[Law], Covariance | None]:
    """One law a block; Gaussian clients of one covariance in its eigenbasis, which comes second."""
    members = laws(population)
    if len(members) == 1 and isinstance(members[0], GaussianLaw):
        law = members[0]
        own = Covariance(law.covariance.eigenvalues)
        deltas = np.ascontiguousarray(law.covariance.unrotate(law.deltas.T).T)
        return [GaussianLaw(own, law.weights, deltas, law.noise_variances)], law.covariance
    parts = [law.members() if isinstance(law, EmpiricalLaw) else [law] for law in members]
    return [law for part in parts for law in part], None


def _block(law: Law, batch: int | None, added: AddedCovariance) -> Block:
    if isinstance(law, EmpiricalLaw):
        return EmpiricalBlock(law, batch, added)
    assert isinstance(law, GaussianLaw)
    return GaussianBlock(law, batch, added)


def _differences(recursion: MemoryRecursion, core: Array) -> list[Array]:
    """D of each block, (d, d), in the recursion's basis; 0 where all that is left of it is rounding."""
    second, moments = recursion.unpacked(core[None])
    found = []
    for block, (y, z, m) in zip(recursion.blocks, moments, strict=True):
        mean, sampling = block.moments(second)
        difference = recursion.difference(mean + sampling, block.mean_memory(y, z), m)[0]
        found.append(difference * (np.trace(difference) > ROUNDING * np.trace(m[0])))
    return found
