"""What theory says of a configuration: limits, plateaus and the expected risk after any number of rounds."""

from __future__ import annotations

from collections.abc import Sequence

from .. import files
from ..problems.population import Population
from ..study.configuration import Configuration
from . import cache
from .prediction import Prediction, compute, limit_covariance, seconds

__all__ = ["Prediction", "limit_covariance", "predict", "seconds"]


def predict(
    configuration: Configuration,
    population: Population | None = None,
    log_rounds: Sequence[int] | None = None,
) -> Prediction:
    """The prediction for a configuration, kept on disk once computed.

    `population` is `configuration.problem.prepare(configuration.clients)`, for callers that have it already;
    `log_rounds` are the rounds of the risks (default: 0, about 10 a decade, and K). Raises ValueError where the
    problem cannot be prepared.
    """
    if population is None:
        population = configuration.problem.prepare(configuration.clients)
    rounds = None if log_rounds is None else [int(k) for k in log_rounds]
    name = cache.key(configuration, population, rounds)
    known = files.load("theory", name)
    if known is not None:
        return Prediction(**known)
    prediction = compute(configuration, population, rounds)
    files.store("theory", name, prediction.to_json())
    return prediction
