"""Make the document of `analyze --json` from logs and predictions: one entry for each configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from ..log import schema
from ..log.reader import Log, usable
from . import rates
from .document import (
    INVALID,
    VALID,
    Analysis,
    Bias,
    Decomposition,
    DownlinkReductionFactor,
    Entry,
    Factors,
    Interval,
    Mean,
    ReductionFactor,
    Uplink,
)
from .heterogeneity import is_reference, penalty, references
from .prediction import Forecast
from .validity import reasons

TARGET_FACTOR = 1.1
"""Factor of the default target: target = factor * worst final mean of the configurations whose risk fell."""
FLOOR = 1e-24
"""Fraction of the initial risk; a risk below it is due to float64 rounding."""
FLOAT32, FLOAT16 = 4, 2
"""Bytes of an uncompressed coordinate."""


def summarise(logs: Sequence[Log], forecasts: Sequence[Forecast], target: float | None = None) -> Analysis:
    """Return the document without its decisions.

    `target` is the mean averaged excess risk to reach; None stands for the default target. Numbers that cannot be
    computed are None.
    """
    if target is None:
        target = _default_target(logs)
    triples = zip(logs, forecasts, references(logs), strict=True)
    entries = [_entry(log, forecast, target, reference) for log, forecast, reference in triples]
    analysis: Analysis = _finite(Analysis(target, entries))
    return analysis


def _default_target(logs: Sequence[Log]) -> float:
    """Return TARGET_FACTOR times the worst final mean.

    Configurations that ended above their initial risk are ignored, unless all did. NaN if no configuration has a final
    mean.
    """
    curves = [log.excess_risk_averaged[kept] for log in logs if (kept := usable(log)).any()]
    finals = [float(np.mean(curve[:, -1])) for curve in curves]
    descended = [final for final, curve in zip(finals, curves, strict=True) if final < curve[:, 0].mean()]
    return TARGET_FACTOR * max(descended or finals, default=math.nan)


def _entry(log: Log, forecast: Forecast, target: float, reference: Log | None) -> Entry:
    kept = usable(log)
    curves = log.excess_risk_averaged[kept]
    curve = forecast.excess_risk_averaged
    predicted = None if curve is None or np.isnan(curve[-1]) else float(curve[-1])
    mean, error = rates.mean_and_error(curves[:, -1])
    floor = max(forecast.rounding, FLOOR * float(np.nanmax(log.excess_risk[:, 0], initial=0)))
    comparison = rates.compare(curves[:, -1], predicted, forecast.relative_error, floor)
    bias, decomposition = _errors(log, kept, forecast)
    faults = reasons(log, comparison, forecast)
    penalty_ratio, penalty_error = penalty(log, reference)
    configuration = log.configuration
    return Entry(
        compressor=configuration["compressor"],
        algorithm=configuration["algorithm"],
        problem=configuration["problem"],
        route=configuration["route"],
        downlink=configuration.get("downlink"),
        clients=log.clients,
        rounds=log.rounds,
        repetitions=int(kept.sum()),
        excess_risk_averaged=Mean(mean, error),
        predicted_excess_risk_averaged=predicted,
        prediction_kind=forecast.kind,
        limit_trace=forecast.limit_trace,
        z=comparison.z,
        p_value=comparison.p_value,
        slope=rates.fit_slope(log.round, curves, curve),
        **_bytes(log, kept),
        bias=bias,
        decomposition=decomposition,
        variance_ratio=_ratio(mean, predicted),
        verdict=INVALID if faults else VALID,
        reasons=faults,
        notes=[forecast.note] if forecast.note else [],
        label=log.label,
        configuration_id=log.attributes.get(schema.CONFIGURATION_ID.name),
        study=configuration["study"],
        file=str(log.path),
        **_to_target(log, kept, target),
        heterogeneity_reference=is_reference(log),
        heterogeneity_penalty=penalty_ratio,
        heterogeneity_penalty_error=penalty_error,
    )


def _errors(log: Log, kept: np.ndarray, forecast: Forecast) -> tuple[Bias, Decomposition]:
    """Return the bias and the decomposition of the final averaged iterates."""
    averages, optimum = log.final_average(), log.dataset(schema.OPTIMUM.name)
    if averages is None or optimum is None:
        return Bias(None, None), Decomposition(None, None, None, None)
    errors = averages[kept] - optimum
    if forecast.population is None:
        return rates.measure_bias(errors), Decomposition(None, None, None, None)
    weighted = forecast.population.covariance.apply(errors.T).T
    return rates.measure_bias(errors), rates.decompose(errors, weighted)


def _bytes(log: Log, kept: np.ndarray) -> dict[str, Any]:
    """Return the entry's fields of byte counts at round K, means over repetitions, and of reduction factors."""
    (bits, *_), (payload, *_), (transported, error), (down, *_) = (
        rates.mean_and_error(counts[kept, -1])
        for counts in (
            log.uplink_information_bits,
            log.uplink_payload_bytes,
            log.uplink_transported_bytes,
            log.downlink_transported_bytes,
        )
    )
    values = None if log.dimension is None else log.dimension * log.clients * log.rounds
    ranks = log.attributes.get(schema.RANKS.name)
    back = None if log.dimension is None or not ranks else log.dimension * int(ranks) * log.rounds

    def factors(size: int) -> Factors:
        whole = values and size * values
        return Factors(_ratio(whole, bits and bits / 8), _ratio(whole, payload), _ratio(whole, transported))

    return {
        "uplink": Uplink(bits, payload, transported),
        "downlink_bytes": down,
        "reduction_factor": ReductionFactor(factors(FLOAT32), factors(FLOAT16)),
        "reduction_factor_relative_error": _ratio(error, transported),
        "downlink_reduction_factor": DownlinkReductionFactor(
            _ratio(back and FLOAT32 * back, down), _ratio(back and FLOAT16 * back, down)
        ),
    }


def _to_target(log: Log, kept: np.ndarray, target: float) -> dict[str, Any]:
    """Return the entry's fields of rounds, transported uplink bytes and seconds to the target, with their intervals.

    These fields are the values at the first log point whose mean risk is at most the target.
    """
    curves = log.excess_risk_averaged[kept]
    known = bool(kept.any())
    hit = rates.first_at_or_below(curves.mean(axis=0), target) if known else None
    points = rates.target_interval(curves, target)
    means = {
        "rounds": log.round,
        "bytes": log.uplink_transported_bytes[kept].mean(axis=0) if known else None,
        "seconds": log.wall_seconds[kept].mean(axis=0) if known else None,
    }
    fields_by_name: dict[str, Any] = {f"{name}_to_target": _at(values, hit) for name, values in means.items()}
    for name, values in means.items():
        ends = points and Interval(_at(values, points[0]), _at(values, points[1]), rates.CONFIDENCE)
        fields_by_name[f"{name}_to_target_interval"] = ends
    return fields_by_name


def _at(values: np.ndarray | None, point: int | None) -> Any:
    return None if values is None or point is None else values[point].item()


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    return None if numerator is None or not denominator else numerator / denominator


def _finite(value: Any) -> Any:
    """Return a copy of the value in which infinities and NaN, which JSON cannot represent, are None."""
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _finite(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
