"""Predict the risks of a log's configuration at the log points."""

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
    """The prediction for a log. Without a prediction, `note` has the reason."""

    excess_risk_averaged: NDArray[np.float64] | None = None
    """Expected excess risk of w_bar at the log points, (P); NaN at log points without a prediction."""
    kind: str | None = None
    """Kind of the prediction: exact | approximate | None."""
    limit_trace: float | None = None
    """Limit trace Tr(C_ania H^-1): the excess risk tends to limit_trace / (2 rounds)."""
    relative_error: float = 0.0
    """Relative standard error of the prediction at the last round; 0 unless a part of it is Monte Carlo."""
    stable: bool | None = None
    """True if the second moments stay bounded at this step size; None if this cannot be predicted."""
    rounding: float = 0.0
    """Greatest change of the last risk by rounding messages to float32."""
    note: str | None = None
    population: Population | None = None
    """The clients, which determine H; None if they cannot be built on this machine."""


def forecast(log: Log) -> Forecast:
    """Return the prediction for a log, or a `Forecast` with only a note on why a prediction is not possible."""
    from ..study.load import configuration_from_tables
    from ..theory import predict

    population = None
    try:
        configuration = configuration_from_tables(log.configuration)
        digest = configuration.problem.facts().get(schema.DATASET_DIGEST.name)
        if digest != log.attributes.get(schema.DATASET_DIGEST.name):
            return Forecast(note="no prediction: the data on this machine are not those of the run")
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
    """Bound the change of a risk F when the clients' gradients are rounded to float32: 2 sqrt(F e) + e.

    Rounding changes coordinate j of the mean gradient by at most delta_j = 2^-24 mean_i |E g_ij| at w*, in every round
    in the same direction if gradients are exact. This shifts w by H^-1 delta, whose excess risk is at most
    e = delta^T |H^-1| delta / 2, and so sqrt(F) by at most sqrt(e).
    """
    from ..problems.population import gradient_at

    gradients = np.array([gradient_at(client, population.optimum) for client, _ in population.laws])
    weights = np.array([count for _, count in population.laws]) / len(population.clients)
    delta = 2.0**-24 * weights @ np.abs(gradients)
    extra = 0.5 * delta @ np.abs(np.linalg.inv(population.covariance.dense)) @ delta
    return float(2 * np.sqrt(risk * extra) + extra)
