"""Files of `mpi-fed bench` with the exact times of a made-up machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mpi_fed.analysis.cost_model.recipe import Recipe
from mpi_fed.compressors.rand_h import RandH

FRAME = 1514 / 1448
RAND = Recipe("rand-h", None, 0)
DIMENSIONS = (1_000, 3_000, 10_000, 30_000)


def made_up(
    dimensions: Sequence[int] = DIMENSIONS,
    link: float | None = None,
    ranks: int = 2,
    factor: float = 1.0,
    bits: Sequence[int] = (32, 16),
) -> dict[str, Any]:
    """Return the document that a benchmark saves on the made-up machine.

    A message costs 5 us on the uplink and 7 us on the downlink, a byte 0.2 ns, a codec 1 us and 2 ns a number.
    """
    results = []
    tables: list[dict[str, Any]] = [{"kind": "none", "value_bits": n} for n in (32, 16)] + [{"kind": "rand-h"}]
    for dimension in dimensions:
        for table in tables:
            results += [result(table, dimension, back, link, ranks, factor) for back in bits]
    machine = {"hosts": [*map(str, range(ranks))] if link else ["a"], "cores": 2}
    return {"machine": machine, "results": results}


def both_ways(document: dict[str, Any]) -> dict[str, Any]:
    """Return only the rounds of rand-h, with a compressed downlink that costs one codec's time at either end."""
    rows = [row for row in document["results"] if row["compressor"]["kind"] == "rand-h" and row["downlink_bits"] == 32]
    for row in rows:
        codec, phases = row["phases"]["encode"], row["phases"]
        back = {"downlink": {side: value / 8 for side, value in phases["downlink"].items()}}
        row |= {"downlink": row["compressor"], "downlink_bits": None}
        row["phases"] = phases | back | {"downlink_encode": codec, "downlink_decode": codec}
        whole = sum(phase["max"] for phase in row["phases"].values())
        row |= {"microseconds": constant(whole), "launch_medians": [whole], "quantiles": [whole] * 101}
    return document | {"results": rows}


def constant(median: float) -> dict[str, float]:
    """Return the percentiles of rounds that all take the same time."""
    return dict.fromkeys(("min", "median", "p90", "p99"), median)


def result(
    table: dict[str, Any], dimension: int, back: int, link: float | None, ranks: int, factor: float
) -> dict[str, Any]:
    if table["kind"] == "rand-h":
        compressor = RAND.at(dimension)
        assert isinstance(compressor, RandH)
        table = {"kind": "rand-h", "h": compressor.h, "value_bits": 32}
    size = 4 * table["h"] if "h" in table else table["value_bits"] // 8 * dimension
    wire = 8 * FRAME / link if link else 0.0
    up = 5e-6 * (ranks - 1) + (ranks - 1) * size * (0.2e-9 + wire)
    levels = math.ceil(math.log2(ranks))
    moved = levels * back / 8 * dimension
    down = 7e-6 * levels + moved * (0.2e-9 + wire)
    codec = 1e-6 + 2e-9 * dimension
    phases = {"gradient": codec, "encode": codec, "wait": 0, "uplink": up, "decode": ranks * codec, "update": codec}
    whole = sum(phases.values()) + down
    times = {name: dict.fromkeys(("min", "mean", "max"), 1e6 * factor * seconds) for name, seconds in phases.items()}
    times["downlink"] = {"min": 0.0, "mean": 0.5e6 * factor * down, "max": 1e6 * factor * down}
    median = 1e6 * factor * whole
    return {
        "route": "gather", "compressor": table, "label": table["kind"], "dimension": dimension, "ranks": ranks,
        "clients": ranks, "downlink_bits": back, "payload_bytes": size, "messages": ranks, "repetitions": 20,
        "launches": 1, "microseconds": constant(median), "launch_medians": [median], "quantiles": [median] * 101,
        "phases": times, "verdict": "VALID", "reasons": [],
    }  # fmt: skip
