"""What theory says of a configuration: limits, plateaus and the expected risk after any number of rounds.

`prediction.py` puts it together, in the fields of `document.py`: `limits/` what holds as the step vanishes,
`fixed_step.py` what a fixed step tends to, `finite_rounds.py` the risks at a finite number of rounds. They rest on the
linear recursion of the error's moments (`recursions/`), and that on the moments of gradients and of compression
(`moments/`).
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import files
from ..problems.population import Population
from ..study.configuration import Configuration
from . import cache
from .document import Prediction
from .prediction import compute, limit_covariance, prediction_seconds

__all__ = ["Prediction", "limit_covariance", "predict", "prediction_seconds"]


def predict(
    configuration: Configuration,
    population: Population | None = None,
    log_rounds: Sequence[int] | None = None,
) -> Prediction:
    """The prediction for a configuration, stored on disk once computed.

    `population` is `configuration.problem.prepare(configuration.clients)`, for callers that have it already;
    `log_rounds` are the rounds of the risks (default: 0, about 10 a decade, and K). Raises ValueError where the
    problem cannot be prepared.
    """
    if population is None:
        population = configuration.problem.prepare(configuration.clients)
    rounds = None if log_rounds is None else [int(k) for k in log_rounds]
    key = cache.key(configuration, population, rounds)
    fields = files.load("theory", key)
    if fields is not None:
        return Prediction(**fields)
    prediction = compute(configuration, population, rounds)
    files.store("theory", key, prediction.to_json())
    return prediction
