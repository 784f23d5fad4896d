"""The long-run behaviour of a fixed step size: stability, and the trace of the noise at the stationary moments."""

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
"""Largest size of a recursion for which the linear system of the stationary moments is solved."""
ROUNDING = 1e-13
"""Least gamma lambda_min for which float64 can decide whether the stationary moments exist."""
LARGEST_REFROZEN = 2_500
"""Largest size of a recursion whose frozen shape is computed anew at the stationary moments."""
REFREEZES = 3
"""Number of times that a frozen shape is computed anew at the stationary moments."""


def fixed_step(recursion: Recursion, steps: Steps) -> FixedStep:
    """Return the stability of a fixed step size, and the plateau trace Tr(S(U) H^-1) at the stationary U.

    Both are None if the step size decreases or the stationary moments cannot be computed.
    """
    solvable = recursion.size <= LARGEST or math.isfinite(recursion.operations_of_resolvent())
    if steps.exponent or not solvable or steps.scale * recursion.eigenvalues.min() < ROUNDING:
        return FixedStep()
    core = stationary(recursion, steps.scale)
    if core is None:
        return FixedStep(stable=False)
    return FixedStep(recursion.noise_trace(core), stable=True)


def stationary(recursion: Recursion, gamma: float) -> Array | None:
    """Return the stationary core of a fixed step size, or None if it does not exist, e.g. at the edge of stability."""
    try:
        with np.errstate(all="ignore"):
            return recursion.stationary(gamma)
    except np.linalg.LinAlgError:
        return None


def frozen_fixed_step(model: RunModel, recursion: Recursion, steps: Steps) -> FixedStep:
    """Return `fixed_step` for noise whose shape depends on U; shape and stationary U are computed alternately.

    Both fields are None with memories.
    """
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
