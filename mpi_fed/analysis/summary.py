"""The object that `analyze --json` prints: one entry a configuration, and what compares them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..log.reader import Log, usable
from . import rates
from .heterogeneity import is_reference, penalty, references
from .prediction import Forecast
from .validity import reasons

Entry = dict[str, Any]

TARGET_FACTOR = 1.1
"""The default target is this many times the worst final mean among the configurations that descended."""
FLOOR = 1e-24
"""Risks below this fraction of the initial one are float64's rounding."""
BASELINES = {"float32": 4, "float16": 2}
"""Bytes a coordinate without compression."""


def summarise(
    logs: Sequence[Log], forecasts: Sequence[Forecast], target: float | None = None
) -> dict[str, Any]:
    """The whole object of `analyze --json`. A number that cannot be had is None."""
    entries = [_entry(log, forecast) for log, forecast in zip(logs, forecasts, strict=True)]
    finals = [entry["excess_risk_averaged"]["mean"] for entry in entries]
    if target is None:
        target = _default_target(logs, finals)
    for log, mean, entry, reference in zip(logs, finals, entries, references(logs), strict=True):
        entry.update(_to_target(log, target, mean is not None))
        entry.update(_heterogeneity(log, reference))
    return _finite({"target_excess_risk": target, "configurations": entries})


def _default_target(logs: Sequence[Log], finals: Sequence[float | None]) -> float:
    """TARGET_FACTOR times the worst final mean, of those that ended below their start if any did."""
    known = [(log, mean) for log, mean in zip(logs, finals, strict=True) if mean is not None]
    descended = [mean for log, mean in known if mean < log.excess_risk_averaged[usable(log), 0].mean()]
    return TARGET_FACTOR * max(descended or [mean for _, mean in known], default=math.nan)


def _entry(log: Log, forecast: Forecast) -> Entry:
    kept = usable(log)
    curves = log.excess_risk_averaged[kept]
    curve = forecast.excess_risk_averaged
    predicted = None if curve is None or np.isnan(curve[-1]) else float(curve[-1])
    mean, error = rates.mean_and_error(curves[:, -1])
    floor = max(forecast.rounding, FLOOR * float(np.nanmax(log.excess_risk[:, 0], initial=0)))
    comparison = rates.compare(curves[:, -1], predicted, forecast.relative_error, floor)
    slope = rates.fit_slope(log.round, curves, curve)
    bias, parts = _errors(log, kept, forecast)
    found = reasons(log, comparison, forecast)
    return {
        **{name: log.configuration[name] for name in ("compressor", "algorithm", "problem", "route")},
        "downlink": log.configuration.get("downlink"),
        "clients": log.clients,
        "rounds": log.rounds,
        "repetitions": int(kept.sum()),
        "excess_risk_averaged": {"mean": mean, "standard_error": error},
        "predicted_excess_risk_averaged": predicted,
        "prediction_kind": forecast.kind,
        "limit_trace": forecast.limit_trace,
        "z": comparison.z,
        "p_value": comparison.p_value,
        "slope": None if slope is None else asdict(slope),
        **_bytes(log, kept),
        "bias": asdict(bias),
        "decomposition": asdict(parts),
        "variance_ratio": _ratio(mean, predicted),
        "verdict": "INVALID" if found else "VALID",
        "reasons": found,
        "notes": [forecast.note] if forecast.note else [],
        "label": log.label,
        "configuration_id": log.attributes.get("configuration_id"),
        "study": log.configuration["study"],
        "file": str(log.path),
    }


def _errors(log: Log, kept: np.ndarray, forecast: Forecast) -> tuple[rates.Bias, rates.Decomposition]:
    """What the final averaged iterates tell of bias and variance."""
    averages, optimum = log.final_average(), log.dataset("optimum")
    if averages is None or optimum is None:
        return rates.Bias(None, None), rates.Decomposition(None, None, None, None)
    errors = averages[kept] - optimum
    if forecast.population is None:
        return rates.measure_bias(errors), rates.Decomposition(None, None, None, None)
    weighted = forecast.population.covariance.apply(errors.T).T
    return rates.measure_bias(errors), rates.decompose(errors, weighted)


def _bytes(log: Log, kept: np.ndarray) -> Entry:
    """The final byte counts, mean a repetition, and by what factor they are below no compression."""
    (bits, *_), (payload, *_), (transported, error), (down, *_) = (
        rates.mean_and_error(counts[kept, -1])
        for counts in (
            log.uplink_information_bits,
            log.uplink_payload_bytes,
            log.uplink_transported_bytes,
            log.downlink_transported_bytes,
        )
    )
    sent = {"information": None if bits is None else bits / 8, "payload": payload, "transported": transported}
    values = None if log.dimension is None else log.dimension * log.clients * log.rounds
    ranks = log.attributes.get("ranks")
    back = None if log.dimension is None or not ranks else log.dimension * int(ranks) * log.rounds
    factors = {
        baseline: {name: _ratio(values and size * values, count) for name, count in sent.items()}
        for baseline, size in BASELINES.items()
    }
    return {
        "uplink": {"information_bits": bits, "payload_bytes": payload, "transported_bytes": transported},
        "downlink_bytes": down,
        "reduction_factor": factors,
        "reduction_factor_relative_error": _ratio(error, transported),
        "downlink_reduction_factor": {
            baseline: _ratio(back and size * back, down) for baseline, size in BASELINES.items()
        },
    }


def _to_target(log: Log, target: float | None, any_usable: bool) -> Entry:
    """Rounds, transported uplink bytes and seconds at the first log point whose mean meets the target, and the
    interval in which another set of repetitions would have it."""
    kept = usable(log)
    curves = log.excess_risk_averaged[kept]
    hit = rates.first_at_or_below(curves.mean(axis=0), target) if any_usable else None
    interval = rates.target_interval(curves, target)
    means = (
        ("rounds", log.round),
        ("bytes", log.uplink_transported_bytes[kept].mean(axis=0) if any_usable else None),
        ("seconds", log.wall_seconds[kept].mean(axis=0) if any_usable else None),
    )
    found: Entry = {f"{name}_to_target": _at(values, hit) for name, values in means}
    for name, values in means:
        ends = interval and {"low": _at(values, interval[0]), "high": _at(values, interval[1])}
        found[f"{name}_to_target_interval"] = ends and {**ends, "confidence": rates.CONFIDENCE}
    return found


def _at(values: np.ndarray | None, point: int | None) -> float | None:
    return None if values is None or point is None else values[point].item()


def _heterogeneity(log: Log, reference: Log | None) -> Entry:
    """Whether this is a homogeneous reference; else the penalty over its own, with the standard error."""
    ratio, error = penalty(log, reference)
    return {
        "heterogeneity_reference": is_reference(log),
        "heterogeneity_penalty": ratio,
        "heterogeneity_penalty_error": error,
    }


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    return None if numerator is None or not denominator else numerator / denominator


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
