"""Logs with known contents, written according to docs/log-format.md without any part of mpi_fed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

Table = dict[str, Any]

TABLES: dict[str, Table] = {
    "study": {"name": "synthetic", "rounds": 1000, "repetitions": [0, 1, 2], "clients": 2},
    "problem": {
        "kind": "gaussian",
        "dimension": 10,
        "eigenvalue_decay": 1.0,
        "rotation": "dct",
        "noise_variance": 1.0,
        "optimum": "ones",
        "shift": "none",
        "seed": 0,
        "batch_size": 1,
    },
    "algorithm": {"kind": "sgd", "step_size": "constant", "omega": "paper", "averaging": "all"},
    "compressor": {"kind": "quantization", "value_bits": 32, "levels": 1},
    "route": {"kind": "gather"},
    "log": {"points_per_decade": 100, "iterates": "last"},
}
RANKS = 2
BITS = 52
"""Information bits of a message: a float32 norm and 2 bits for each of 10 coordinates."""
PAYLOAD = 8
"""Bytes of a message: the norm and two bit planes of 10 bits, each rounded up to whole bytes."""
PHASES = ("gradient", "encode", "wait", "uplink", "decode", "update", "downlink")


def points(rounds: int, per_decade: int = 100) -> NDArray[np.int64]:
    """Return 0, integers spaced evenly in the logarithm, and the last round."""
    steps = int(np.ceil(per_decade * np.log10(rounds))) + 1
    return np.unique(np.concatenate([[0], np.round(np.geomspace(1, rounds, steps)).astype(np.int64)]))


K, D, N, R = 1000, 10, 2, 3
"""Rounds, dimension, clients and repetitions of TABLES."""
ROUNDS = points(K)
NOISE = np.array([0.9, 1.0, 1.1])[:, None]
"""Factors of three repetitions, with mean 1 and standard error 0.1/sqrt(3)."""


def tables(**changes: Mapping[str, Any]) -> dict[str, Table]:
    """Return TABLES with some keys changed, as in problem={"shift": "both"}; a compressor replaces the whole table."""
    made = copy.deepcopy(TABLES)
    for name, table in changes.items():
        made[name] = dict(table) if name == "compressor" else {**made[name], **table}
    return made


def power_law(rounds: NDArray[np.int64], scale: float = 1.0, slope: float = -1.0) -> NDArray[np.float64]:
    """Return scale * k^slope at log points k, with the value of round 1 at round 0."""
    return scale * np.maximum(rounds, 1).astype(float) ** slope


def write_log(
    path: Path,
    configuration: dict[str, Table] | None = None,
    risk: ArrayLike | None = None,
    reached: Iterable[int] | None = None,
    averages: ArrayLike | None = None,
    payload: int = PAYLOAD,
    **attributes: Any,
) -> dict[str, NDArray[Any]]:
    """Write a log, and return its contents as arrays by name.

    risk: excess risks of the averaged iterate, (R, P), a power law by default; reached: number of log points that each
    repetition has reached, (R,). Every message has BITS information bits and `payload` bytes.
    """
    configuration = configuration or tables()
    study, dimension = configuration["study"], configuration["problem"]["dimension"]
    seeds, clients, rounds = study["repetitions"], study["clients"], points(study["rounds"])
    shape = (len(seeds), len(rounds))
    risks = np.broadcast_to(power_law(rounds) if risk is None else risk, shape)
    messages = np.broadcast_to(rounds * clients, shape)
    arrays: dict[str, NDArray[Any]] = {
        "excess_risk": risks * 2.0,
        "excess_risk_averaged": risks * 1.0,
        "wall_seconds": np.broadcast_to(rounds * 1e-5, shape).copy(),
        "uplink_information_bits": messages * BITS,
        "uplink_payload_bytes": messages * payload,
        "uplink_transported_bytes": messages * payload,
        "downlink_transported_bytes": np.broadcast_to(rounds * dimension * 8 * RANKS, shape).copy(),
        "client_uplink_payload_bytes": np.repeat((messages // clients * payload)[:, :, None], clients, axis=2),
    }
    for r, count in enumerate(reached if reached is not None else []):
        for array in arrays.values():
            array[r, count:] = -1 if array.dtype.kind == "i" else np.nan
    last = arrays["uplink_payload_bytes"].max(axis=1)
    arrays |= {
        "round": rounds,
        "repetition": np.array(seeds, dtype=np.int64),
        "repetition_status": np.where(np.isfinite(arrays["excess_risk"][:, -1]), 1, 0),
        "message_size": np.arange(payload + 1),
        "message_count": (last // payload)[:, None] * (np.arange(payload + 1) == payload),
        "phase_seconds": np.tile(np.arange(1, 8)[:, None] * 1e-6 * [1.0, 1.5, 2.0], (len(seeds), 1, 1)),
        "optimum": np.ones(dimension),
    }
    if averages is not None:
        arrays["last_iterate_averaged"] = np.asarray(averages, dtype=float)
    _write(path, arrays, configuration, attributes)
    return arrays


def _write(
    path: Path, arrays: Mapping[str, NDArray[Any]], configuration: Mapping[str, Table], attributes: Mapping[str, Any]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file["phase"] = list(PHASES)
        file["statistic"] = ["min", "mean", "max"]
        file.attrs.update(
            {
                "format": "mpi-fed log",
                "format_version": 1,
                "configuration": json.dumps(configuration),
                "configuration_id": "0123456789ab",
                "status": "complete",
                "command_line": "mpi-fed run synthetic.toml",
                "ranks": RANKS,
                **attributes,
            }
        )
