"""What a fixed step does in the end: whether the moments stay bounded, and the trace of the noise they settle at."""

from __future__ import annotations

import math

import numpy as np

from ..algorithms import Steps
from .document import FixedStep
from .moments.symmetric_packing import Array
from .recursions.base import Recursion
from .recursions.choose import frozen_recursion
from .run_model import RunModel

LARGEST = 16_000
"""Above this size the linear system of the stationary moments is not solved."""
ROUNDING = 1e-13
"""Moments that decay more slowly a round have a stationary value that float64 cannot tell from none."""
LARGEST_REFROZEN = 2_500
"""Above this size a frozen shape is not renewed at the stationary moments."""
REFREEZES = 3
"""How often it is."""


def fixed_step(recursion: Recursion, steps: Steps) -> FixedStep:
    """Whether a fixed step is stable, and Tr(C(U) H^-1) at the stationary U; nothing for a decreasing step."""
    solvable = recursion.size <= LARGEST or math.isfinite(recursion.operations_of_resolvent())
    if steps.exponent or not solvable or steps.scale * recursion.eigenvalues.min() < ROUNDING:
        return FixedStep()
    core = stationary(recursion, steps.scale)
    if core is None:
        return FixedStep(stable=False)
    return FixedStep(recursion.noise_trace(core), stable=True)


def stationary(recursion: Recursion, gamma: float) -> Array | None:
    """The core that a fixed step tends to; None where there is none, exactly at the edge, too."""
    try:
        with np.errstate(all="ignore"):
            return recursion.stationary(gamma)
    except np.linalg.LinAlgError:
        return None


def frozen_fixed_step(model: RunModel, recursion: Recursion, steps: Steps) -> FixedStep:
    """As `fixed_step` where the noise's shape depends on U: shape and stationary U in turn; nothing with memories."""
    if model.alpha is not None:
        return FixedStep()
    result = fixed_step(recursion, steps)
    small = recursion.size <= LARGEST_REFROZEN
    for _ in range(REFREEZES if small and result.stable else 0):
        core = stationary(recursion, steps.scale)
        if core is None:
            return FixedStep(stable=False)
        recursion = frozen_recursion(model, core)
        result = FixedStep(recursion.noise_trace(core), stable=True)
    return result
