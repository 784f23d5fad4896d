"""Decide if a configuration's numbers can be trusted: VALID, or INVALID with the reasons."""

from __future__ import annotations

import numpy as np

from ..log import schema
from ..log.reader import Log
from .prediction import Forecast
from .rates import Comparison

GROWTH = 1000
"""Growth factor of the risk above which the iterate is taken to diverge."""
MISMATCH_LEVEL = 1e-4
"""Level of the test of a mean against an exact prediction: with a smaller p-value the configuration is INVALID."""


def reasons(log: Log, comparison: Comparison, forecast: Forecast) -> list[str]:
    """Return the reasons for INVALID; empty for VALID."""
    faults = _unfinished(log) + _impossible(log) + _inconsistent(log) + _mismatch(comparison, forecast.kind)
    return faults + _out_of_bounds(log, forecast)


def _out_of_bounds(log: Log, forecast: Forecast) -> list[str]:
    """Return a reason if the risk grows at this step size, even if it is still finite."""
    if forecast.stable is False:
        return ["the step size is too large: by theory the second moments grow without bounds"]
    start, end = log.excess_risk[log.complete, 0], log.excess_risk[log.complete, -1]
    if len(end) and end.mean() > GROWTH * start.mean() > 0:
        return [
            f"the risk of the last iterate is more than {GROWTH} times that of the first: the step size is too large"
        ]
    return []


def _unfinished(log: Log) -> list[str]:
    total, finished, diverged = len(log.repetition), int(log.complete.sum()), int(log.diverged.sum())
    faults = []
    if diverged:
        faults.append(f"{diverged} of {total} repetitions diverged")
    elif log.status == schema.Status.DIVERGED:
        faults.append("the log's status is diverged")
    if finished + diverged < total:
        furthest = ", ".join(_progress(log, i) for i in np.flatnonzero(~log.complete & ~log.diverged)[:3])
        faults.append(f"{finished} of {total} repetitions reached round {log.rounds} ({furthest}); run the study again")
    return faults


def _progress(log: Log, i: int) -> str:
    points = log.reached[i]
    return (
        f"seed {log.repetition[i]}: round {log.round[points - 1]}"
        if points
        else f"seed {log.repetition[i]}: not started"
    )


def _impossible(log: Log) -> list[str]:
    risks = np.concatenate([log.excess_risk[log.complete], log.excess_risk_averaged[log.complete]])
    return ["a negative excess risk"] if (risks < 0).any() else []


def _inconsistent(log: Log) -> list[str]:
    """Return contradictions between byte counts, at the log points that all datasets have reached."""
    reached = np.arange(len(log.round)) < log.reached[:, None]
    bits, payload, transported = log.uplink_information_bits, log.uplink_payload_bytes, log.uplink_transported_bytes
    faults = []
    if (reached & (8 * payload < bits)).any():
        faults.append("fewer payload bytes than information bits / 8")
    if (reached & (transported < payload)).any() and not _adds(log.configuration["route"].get("kind", "")):
        faults.append("fewer transported bytes than payload bytes")
    faults += [
        f"{count.name} falls"
        for count in schema.COUNTS
        if (reached[:, 1:] & (np.diff(getattr(log, count.name)) < 0)).any()
    ]
    return faults + _contradictions(log)


def _adds(kind: str) -> bool:
    """Return True if a route adds up a rank's messages before it sends them."""
    from ..routes import routes

    return kind in routes and routes[kind].sums_in_mpi


def _contradictions(log: Log) -> list[str]:
    """Return contradictions between the total payload and the sums over clients and over message sizes."""
    total, faults = log.uplink_payload_bytes[log.complete, -1], []
    by_client = log.dataset(schema.CLIENT_UPLINK_PAYLOAD_BYTES.name)
    last = by_client[:, -1] if by_client is not None else log.dataset(schema.CLIENT_UPLINK_PAYLOAD_BYTES_TOTAL.name)
    payload = schema.UPLINK_PAYLOAD_BYTES.name
    if last is not None and (last[log.complete].sum(axis=1) != total).any():
        faults.append(f"the clients' payload bytes do not add up to {payload}")
    sizes, counts = log.dataset(schema.MESSAGE_SIZE.name), log.dataset(schema.MESSAGE_COUNT.name)
    exact = sizes is not None and (np.diff(sizes) == 1).all()
    if exact and counts is not None and (counts[log.complete] @ sizes != total).any():
        faults.append(f"the message sizes do not add up to {payload}")
    return faults


def _mismatch(comparison: Comparison, prediction_kind: str | None) -> list[str]:
    if prediction_kind != "exact" or comparison.p_value is None or comparison.p_value >= MISMATCH_LEVEL:
        return []
    z = "repetitions do not differ" if comparison.z is None else f"z = {comparison.z:.1f}"
    return [f"the final mean contradicts the exact prediction ({z}, p = {comparison.p_value:.1g})"]
