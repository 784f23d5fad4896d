"""The theory's prediction for a log's configuration, at its log points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .read import Log


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
    note: str | None = None


def forecast(log: Log) -> Forecast:
    """The prediction for a log; none where the configuration cannot be built here."""
    from ..study import configuration_from_tables
    from ..theory import predict

    try:
        configuration = configuration_from_tables(log.configuration)
        digest = configuration.problem.facts().get("dataset_digest")
        if digest != log.attributes.get("dataset_digest"):
            return Forecast(note="no prediction: the data here are not those of the run")
        prediction = predict(configuration, log_rounds=log.round.tolist())
    except (InputError, ValueError, OSError, NotImplementedError) as error:
        return Forecast(note=f"no prediction: {error}")
    curve = prediction.excess_risk_averaged
    return Forecast(
        None if curve is None else np.asarray(curve, dtype=np.float64),
        prediction.prediction_kind,
        prediction.limit_trace,
        prediction.relative_error or 0.0,
        prediction.note,
    )
