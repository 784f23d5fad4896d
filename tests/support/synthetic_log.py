"""Logs with known contents, written along docs/log-format.md without any part of mpi_fed."""

import copy
import json

import h5py
import numpy as np

TABLES = {
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


def points(rounds, per_decade=100):
    """0, integers spaced evenly in the logarithm, and the last round."""
    steps = int(np.ceil(per_decade * np.log10(rounds))) + 1
    return np.unique(np.concatenate([[0], np.round(np.geomspace(1, rounds, steps)).astype(np.int64)]))


K, D, N, R = 1000, 10, 2, 3
"""Rounds, dimension, clients and repetitions of TABLES."""
ROUNDS = points(K)
NOISE = np.array([0.9, 1.0, 1.1])[:, None]
"""Three repetitions around their mean: standard error 0.1/sqrt(3)."""


def tables(**changes):
    """TABLES with some keys changed, given as problem={"shift": "both"}; a compressor is replaced whole."""
    made = copy.deepcopy(TABLES)
    for name, table in changes.items():
        made[name] = dict(table) if name == "compressor" else {**made[name], **table}
    return made


def power_law(rounds, scale=1.0, slope=-1.0):
    """scale * k^slope at log points k, the value of round 1 at round 0."""
    return scale * np.maximum(rounds, 1).astype(float) ** slope


def write_log(path, configuration=None, risk=None, reached=None, averages=None, payload=PAYLOAD, **attributes):
    """A log of averaged risks `risk` (R, P), else a power law, of which `reached` (R) log points are held.

    Every message has BITS information bits and `payload` bytes. Returns the contents as arrays by name.
    """
    configuration = configuration or tables()
    study, dimension = configuration["study"], configuration["problem"]["dimension"]
    seeds, clients, rounds = study["repetitions"], study["clients"], points(study["rounds"])
    shape = (len(seeds), len(rounds))
    risk = np.broadcast_to(power_law(rounds) if risk is None else risk, shape)
    messages = np.broadcast_to(rounds * clients, shape)
    arrays = {
        "excess_risk": risk * 2.0,
        "excess_risk_averaged": risk * 1.0,
        "wall_seconds": np.broadcast_to(rounds * 1e-5, shape).copy(),
        "uplink_information_bits": messages * BITS,
        "uplink_payload_bytes": messages * payload,
        "uplink_transported_bytes": messages * payload,
        "downlink_transported_bytes": np.broadcast_to(rounds * dimension * 8 * RANKS, shape).copy(),
        "client_uplink_payload_bytes": np.repeat((messages // clients * payload)[:, :, None], clients, axis=2),
    }
    for r, held in enumerate(reached if reached is not None else []):
        for array in arrays.values():
            array[r, held:] = -1 if array.dtype.kind == "i" else np.nan
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


def _write(path, arrays, configuration, attributes) -> None:
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
