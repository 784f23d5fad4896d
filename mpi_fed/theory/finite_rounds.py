"""Expected risks after finitely many rounds, the plateau at a fixed step size, and the accuracy of both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..algorithms import Algorithm, Steps
from ..study.configuration import Configuration
from .document import FiniteRounds, FixedStep
from .fixed_step import fixed_step, frozen_fixed_step
from .moments.symmetric_packing import Array
from .recursions.base import Recursion
from .recursions.choose import has_exact, reference_recursion
from .recursions.propagate import OutOfReachError
from .run_model import RunModel
from .trajectory import exact_evolution, expected_risks, frozen_evolution

TOLERANCE = 5e-3
"""Largest relative standard error of the noise of a prediction that is called exact."""


def finite_rounds(
    configuration: Configuration,
    model: RunModel,
    recursion: Recursion | None,
    steps: Steps,
    rounds: NDArray[np.int64],
) -> tuple[FiniteRounds, FixedStep]:
    """Return the risks at these ascending rounds and the plateau, from `recursion`.

    If `recursion` is None, they come from a recursion with a frozen shape of the noise. Raises OutOfReachError if this
    recursion is too large.
    """
    algorithm, population = configuration.algorithm, model.population
    mean, variance = start_moments(algorithm, population.optimum)
    shape = None
    if recursion is not None:
        evolve = exact_evolution(recursion, steps)
        fixed = fixed_step(recursion, steps)
    else:
        recursion = reference_recursion(model, mean, variance)
        evolve, shape = frozen_evolution(model, recursion, steps, int(rounds[-1]))
        fixed = frozen_fixed_step(model, recursion, steps)
    averaging_start = algorithm.averaging_start(configuration.rounds)
    try:
        risks = expected_risks(recursion, evolve, recursion.core_of(mean, variance), averaging_start, rounds)
    except OutOfReachError as reason:
        note = no_finite_rounds(reason)
        return note, FixedStep() if shape else fixed  # without risks, prediction_kind cannot mark a plateau approximate
    error = _relative_error(recursion, risks.core)
    reasons = _approximations(configuration, model, error, shape)
    return FiniteRounds(
        log_rounds=rounds.tolist(),
        excess_risk_averaged=_finite_numbers(risks.averaged),
        excess_risk_last=_finite_numbers(risks.last),
        prediction_kind="approximate" if reasons else "exact",
        relative_error=error,
        note=f"approximate: {'; '.join(reasons)}" if reasons else None,
    ), fixed


def no_finite_rounds(reason: OutOfReachError) -> FiniteRounds:
    """Return the fields without risks, with the reason in `note`."""
    return FiniteRounds(note=f"no finite-K prediction: {reason}")


def start_moments(algorithm: Algorithm, optimum: Array) -> tuple[Array, float]:
    """Return the mean (d,) of eta_0 = w_0 - w* and the variance of its coordinates; a random w_0 is standard normal."""
    start = algorithm.start_vector(len(optimum))
    return (-optimum, 1.0) if start is None else (start - optimum, 0.0)


def _approximations(configuration: Configuration, model: RunModel, error: float | None, shape: str | None) -> list[str]:
    """Return the reasons why a prediction is approximate.

    `shape` is a text that says when the shape of the noise is computed.
    """
    reasons = []
    if not has_exact(model):
        compressed = "gradient is" if model.alpha is None else "gradient's difference to its memory is"
        reasons.append(f"the {compressed} treated as Gaussian, with the shape of the compressor's noise {shape}")
    if error is not None and error > TOLERANCE:
        reasons.append("the compressor's covariance is estimated by Monte Carlo")
    if getattr(configuration.problem, "sampling", "with-replacement") == "epochs":
        reasons.append("rows are treated as drawn with replacement")
    if configuration.compressor.value_bits == 16:
        reasons.append("the rounding to float16 is left out")
    if configuration.route.downlink_bits == 16:
        reasons.append("the rounding of the downlink to float16 is left out")
    if configuration.downlink is not None and configuration.downlink.value_bits == 16:
        reasons.append("the rounding of the downlink to float16 is left out")
    return reasons


def _relative_error(recursion: Recursion, core: Array) -> float | None:
    with np.errstate(over="ignore", invalid="ignore"):
        trace, error = recursion.noise_trace(core), recursion.noise_standard_error(core)
        relative = error / trace if error else 0.0
    return relative if np.isfinite([trace, relative]).all() else None


def _finite_numbers(values: Array) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
