"""The theory's prediction for a log's configuration, at its log points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..log import schema
from ..log.reader import Log

if TYPE_CHECKING:
    from ..problems.population import Population


@dataclass(frozen=True, eq=False)
class Forecast:
    """What theory says of a log; `note` says why where it says nothing."""

    excess_risk_averaged: NDArray[np.float64] | None = None
    """(P) the expected excess risk of w_bar at the log points, NaN where theory says nothing."""
    kind: str | None = None
    """exact | approximate | None."""
    limit_trace: float | None = None
    """Tr(C_ania H^-1): the excess risk tends to limit_trace / (2 rounds)."""
    relative_error: float = 0.0
    """Relative standard error of the prediction at the last round, where a part of it is Monte Carlo."""
    stable: bool | None = None
    """Whether the second moments stay bounded at this step."""
    rounding: float = 0.0
    """What rounding to float32 on the wire may change of the last risk."""
    note: str | None = None
    population: Population | None = None
    """The clients, and so H; None where they cannot be had here."""


def forecast(log: Log) -> Forecast:
    """The prediction for a log; none where the configuration cannot be built here."""
    from ..study.load import configuration_from_tables
    from ..theory import predict

    population = None
    try:
        configuration = configuration_from_tables(log.configuration)
        digest = configuration.problem.facts().get(schema.DATASET_DIGEST.name)
        if digest != log.attributes.get(schema.DATASET_DIGEST.name):
            return Forecast(note="no prediction: the data here are not those of the run")
        population = configuration.problem.prepare(configuration.clients)
        prediction = predict(configuration, population, log_rounds=log.round.tolist())
    except (InputError, ValueError, OSError, NotImplementedError) as error:
        return Forecast(note=f"no prediction: {error}", population=population)
    curve = prediction.excess_risk_averaged
    last = curve[-1] if curve and configuration.compressor.value_bits == 32 else None
    return Forecast(
        excess_risk_averaged=None if curve is None else np.asarray(curve, dtype=np.float64),
        kind=prediction.prediction_kind,
        limit_trace=prediction.limit_trace,
        relative_error=prediction.relative_error or 0.0,
        stable=prediction.stable,
        rounding=0.0 if last is None else _rounding(population, last),
        note=prediction.note,
        population=population,
    )


def _rounding(population: Population, risk: float) -> float:
    """By how much a risk may change where clients' gradients are rounded to float32.

    The mean gradient is off by at most delta_j = 2^-24 mean_i |E g_ij| at w*, always in the same direction where
    gradients are exact, and so w by H^-1 delta: e = delta^T |H^-1| delta / 2, and sqrt(F) by at most sqrt(e).
    """
    from ..problems.population import gradient_at

    gradients = np.array([gradient_at(client, population.optimum) for client, _ in population.laws])
    weights = np.array([count for _, count in population.laws]) / len(population.clients)
    delta = 2.0**-24 * weights @ np.abs(gradients)
    extra = 0.5 * delta @ np.abs(np.linalg.inv(population.covariance.dense)) @ delta
    return float(2 * np.sqrt(risk * extra) + extra)
