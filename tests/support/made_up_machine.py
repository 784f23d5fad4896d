"""Files of `mpi-fed bench` whose times are exactly those of a made-up machine."""

from __future__ import annotations

import math

from mpi_fed.analysis.cost_model.recipe import Recipe

FRAME = 1514 / 1448
RAND = Recipe("rand-h", None, 0)
DIMENSIONS = (1_000, 3_000, 10_000, 30_000)


def made_up(dimensions=DIMENSIONS, link=None, ranks=2, factor=1.0, bits=(32, 16)):
    """What a bench saves where alpha is 5 us up and 7 us down, a byte takes 0.2 ns, and codecs 1 us + 2 ns a number."""
    results = []
    for dimension in dimensions:
        for table in ({"kind": "none", "value_bits": 32}, {"kind": "none", "value_bits": 16}, {"kind": "rand-h"}):
            results += [result(table, dimension, back, link, ranks, factor) for back in bits]
    machine = {"hosts": [*map(str, range(ranks))] if link else ["a"], "cores": 2}
    return {"machine": machine, "results": results}


def both_ways(document):
    """Rounds of rand-h alone, whose direction comes back as a message does: a codec's time on either end."""
    rows = [row for row in document["results"] if row["compressor"]["kind"] == "rand-h" and row["downlink_bits"] == 32]
    for row in rows:
        codec, phases = row["phases"]["encode"], row["phases"]
        back = {"downlink": {side: value / 8 for side, value in phases["downlink"].items()}}
        row |= {"downlink": row["compressor"], "downlink_bits": None}
        row["phases"] = phases | back | {"downlink_encode": codec, "downlink_decode": codec}
        whole = sum(phase["max"] for phase in row["phases"].values())
        row |= {"microseconds": constant(whole), "launch_medians": [whole], "quantiles": [whole] * 101}
    return document | {"results": rows}


def constant(median):
    """The percentiles of rounds that all take as long."""
    return dict.fromkeys(("min", "median", "p90", "p99"), median)


def result(table, dimension, back, link, ranks, factor):
    if table["kind"] == "rand-h":
        table = {"kind": "rand-h", "h": RAND.at(dimension).h, "value_bits": 32}
    size = 4 * table["h"] if "h" in table else table["value_bits"] // 8 * dimension
    wire = 8 * FRAME / link if link else 0.0
    up = 5e-6 * (ranks - 1) + (ranks - 1) * size * (0.2e-9 + wire)
    levels = math.ceil(math.log2(ranks))
    moved = levels * back / 8 * dimension
    down = 7e-6 * levels + moved * (0.2e-9 + wire)
    codec = 1e-6 + 2e-9 * dimension
    phases = {"gradient": codec, "encode": codec, "wait": 0, "uplink": up, "decode": ranks * codec, "update": codec}
    whole = sum(phases.values()) + down
    times = {name: dict.fromkeys(("min", "mean", "max"), 1e6 * factor * v) for name, v in phases.items()}
    times["downlink"] = {"min": 0.0, "mean": 0.5e6 * factor * down, "max": 1e6 * factor * down}
    median = 1e6 * factor * whole
    return {
        "route": "gather", "compressor": table, "label": table["kind"], "dimension": dimension, "ranks": ranks,
        "clients": ranks, "downlink_bits": back, "payload_bytes": size, "messages": ranks, "repetitions": 20,
        "launches": 1, "microseconds": constant(median), "launch_medians": [median], "quantiles": [median] * 101,
        "phases": times, "verdict": "VALID", "reasons": [],
    }  # fmt: skip
