"""Measurements and documents of `mpi-fed bench`, written by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_fed.benchmark.document import Bench
from mpi_fed.benchmark.load import bench_of
from mpi_fed.benchmark.result import Measured, bench_document, result_of

PLAIN = {"NUMBA_DISABLE_JIT": "1"}
"""Environment of a benchmark that compiles nothing. Its times mean nothing, and no test here looks at one."""
TINY = ("--dimension=5", "--repetitions=20", "--launches=1")
SECONDS = 1e-6


def hand_made(factor: float = 1.0, samples: int = 20, bare: bool = True, **changed: Any) -> Measured:
    """Return measurements of two ranks, in microseconds times `factor`.

    Their steps take 1, 2, ... 9 and 9, 8, ... 1, their bare collectives 2 and 3.
    """
    steps = np.arange(1.0, 10.0)
    phases = factor * SECONDS * np.tile(np.array([steps, steps[::-1]])[:, None, :], (1, samples, 1))
    bare_seconds = np.full((samples, 2), [2 * SECONDS, 3 * SECONDS]) if bare else None
    keys: dict[str, Any] = {"route": "gather", "compressor": {"kind": "none"}, "label": "none", "dimension": 5}
    keys |= {"clients": 2, "downlink_bits": 64, "compressed_downlink": None}
    sizes = {"payload_bytes": 20.0, "messages": 2.0, "uplink": 40.0, "downlink": 80.0, "reasons": []}
    return Measured(phases=phases, bare=bare_seconds, **(keys | sizes | changed))


def made_up(
    medians: Any,
    samples: Iterable[Sequence[float] | NDArray[np.float64]] | None = None,
    **machine: Any,
) -> dict[str, Any]:
    """Return the JSON object of a file with one result for each item: medians of launches, or samples of one launch."""
    results = []
    for number, values in enumerate(medians if samples is None else samples, start=1):
        quantiles = np.percentile(values, range(101), method="inverted_cdf").tolist()
        times = TEMPLATE["microseconds"] | {"median": quantiles[50]}
        figures = {"dimension": number, "quantiles": quantiles, "microseconds": times, "repetitions": len(values)}
        results.append(TEMPLATE | figures | {"launch_medians": [*values] if samples is None else [times["median"]]})
    return asdict(bench_document({"cpu": ["a"]} | machine, [])) | {"results": results}


TEMPLATE: dict[str, Any] = asdict(result_of([hand_made()]))


def parsed(document: dict[str, Any]) -> Bench:
    """Return the document that a JSON object stands for."""
    return bench_of(json.loads(json.dumps(document)))


def spoilt(**changed: Any) -> dict[str, Any]:
    """Return a file whose one result has these values; a value of None removes its key."""
    document = made_up([[1.0, 2.0]])
    (result,) = document["results"]
    result |= {key: value for key, value in changed.items() if value is not None}
    for key in [key for key, value in changed.items() if value is None]:
        del result[key]
    return document
