"""What theory says of a configuration without running it, put together from limit, fixed step and finite rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..algorithms import Steps
from ..problems.population import Population
from ..study.configuration import Configuration
from .coverage import reason_for_limit_alone, reason_for_nothing
from .document import FiniteRounds, Prediction, Setup
from .finite_rounds import finite_rounds, no_finite_rounds, start_moments
from .limits.choose import limit
from .limits.choose import limit_covariance as model_covariance
from .moments.symmetric_packing import Array
from .recursions.choose import exact_recursion, reference_recursion
from .recursions.delayed_gradients import undelayed
from .recursions.propagate import OutOfReachError, propagation_seconds
from .run_model import RunModel, run_model

POINTS_PER_DECADE = 10


def compute(
    configuration: Configuration, population: Population, log_rounds: Sequence[int] | None = None
) -> Prediction:
    """The prediction; `log_rounds` (default: about 10 a decade) are the rounds of the risks."""
    steps = _steps(configuration, population)
    prediction = Prediction.of(_setup(configuration, population, steps))
    reason = reason_for_nothing(configuration)
    if reason:
        return prediction.including(FiniteRounds(note=reason))
    model = run_model(configuration, population)
    reason = reason_for_limit_alone(model)
    if reason:
        return prediction.including(FiniteRounds(note=reason), limit(model, None))
    try:
        recursion = exact_recursion(model)
    except OutOfReachError as error:
        return prediction.including(no_finite_rounds(error), limit(model, None))
    prediction = prediction.including(limit(model, undelayed(recursion)))
    rounds = np.unique(np.array(log_rounds or default_rounds(configuration.rounds), dtype=np.int64))
    try:
        return prediction.including(*finite_rounds(configuration, model, recursion, steps, rounds))
    except OutOfReachError as error:
        return prediction.including(no_finite_rounds(error))


def prediction_seconds(configuration: Configuration) -> float:
    """About how long the risk after all rounds takes to compute; infinite where there is none."""
    population = configuration.problem.prepare(configuration.clients)
    model = _model_of_all_rounds(configuration, population)
    if model is None:
        return math.inf
    try:
        recursion = exact_recursion(model)
        if recursion is None:
            recursion = reference_recursion(model, *start_moments(configuration.algorithm, population.optimum))
    except OutOfReachError:
        return math.inf
    return propagation_seconds(recursion, _steps(configuration, population), configuration.rounds)


def limit_covariance(configuration: Configuration) -> Array | None:
    """C_ania, (d, d): the covariance at w* of the mean message, of the clients' gradients and of compression.

    sqrt(K) (w_bar_K - w*) tends in law to N(0, H^-1 C_ania H^-1) as the step vanishes. None with memories, and where
    the compressor's covariance has no exact form.
    """
    model = _model_of_all_rounds(configuration, configuration.problem.prepare(configuration.clients))
    return None if model is None else model_covariance(model)


def default_rounds(rounds: int) -> list[int]:
    """0, K, and about 10 rounds a decade between."""
    points = np.arange(math.floor(POINTS_PER_DECADE * math.log10(rounds)) + 1)
    return [0, *np.unique(np.rint(10 ** (points / POINTS_PER_DECADE)).astype(np.int64)).tolist(), rounds]


def _model_of_all_rounds(configuration: Configuration, population: Population) -> RunModel | None:
    """The model of a configuration for which there may be expected risks at a finite number of rounds."""
    if reason_for_nothing(configuration):
        return None
    model = run_model(configuration, population)
    return None if reason_for_limit_alone(model) else model


def _steps(configuration: Configuration, population: Population) -> Steps:
    algorithm = configuration.algorithm
    omega = algorithm.step_omega(configuration.compressor, configuration.downlink, population.dimension)
    return algorithm.steps(omega, population.trace, configuration.rounds)


def _setup(configuration: Configuration, population: Population, steps: Steps) -> Setup:
    compressor, downlink, d = configuration.compressor, configuration.downlink, population.dimension
    return Setup(
        label=configuration.label,
        compressor=configuration.tables["compressor"],
        downlink=configuration.tables.get("downlink"),
        algorithm=configuration.tables["algorithm"],
        problem=configuration.tables["problem"],
        clients=configuration.clients,
        dimension=d,
        omega=configuration.algorithm.step_omega(compressor, downlink, d),
        step_size=steps.scale,
        step_exponent=steps.exponent,
        rounds=configuration.rounds,
        payload_bits=compressor.payload_bits(d),
        payload_bytes_max=configuration.route.payload_bytes(compressor, d, configuration.clients),
        downlink_payload_bits=None if downlink is None else downlink.payload_bits(d),
        downlink_payload_bytes_max=None if downlink is None else downlink.payload_bytes_max(d),
    )
