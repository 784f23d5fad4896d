"""What a fixed step does in the end: whether the moments stay bounded, and the trace of the noise they settle at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..algorithms import Steps
from .moments.symmetric_packing import Array
from .recursions.base import Recursion
from .recursions.choose import Setting, frozen_recursion

LARGEST = 16_000
"""Above this size the linear system of the stationary moments is not solved."""
ROUNDING = 1e-13
"""Moments that decay more slowly a round have a stationary value that float64 cannot tell from none."""
LARGEST_REFROZEN = 2_500
REFREEZES = 3


def fixed_step(recursion: Recursion, steps: Steps) -> dict[str, Any]:
    """`stable` and `plateau_trace` = Tr(C(U) H^-1) at the stationary U; empty for a decreasing step."""
    solvable = recursion.size <= LARGEST or math.isfinite(recursion.operations_of_resolvent())
    if steps.exponent or not solvable or steps.scale * recursion.eigenvalues.min() < ROUNDING:
        return {}
    core = stationary(recursion, steps.scale)
    if core is None:
        return {"stable": False}
    return {"stable": True, "plateau_trace": recursion.noise_trace(core)}


def stationary(recursion: Recursion, gamma: float) -> Array | None:
    """The core that a fixed step tends to; None where there is none, exactly at the edge, too."""
    try:
        with np.errstate(all="ignore"):
            return recursion.stationary(gamma)
    except np.linalg.LinAlgError:
        return None


def frozen_fixed_step(setting: Setting, recursion: Recursion, steps: Steps) -> dict[str, Any]:
    """The same where the noise's shape depends on U: the shape and the stationary U in turn; not with memories."""
    if setting.alpha is not None:
        return {}
    found = fixed_step(recursion, steps)
    small = recursion.size <= LARGEST_REFROZEN
    for _ in range(REFREEZES if small and found.get("stable") else 0):
        core = stationary(recursion, steps.scale)
        if core is None:
            return {"stable": False}
        recursion = frozen_recursion(setting, core)
        found = {"stable": True, "plateau_trace": recursion.noise_trace(core)}
    return found
