"""Time the compressors on large vectors: python scripts/benchmarks/compressors.py [DIMENSION].

The script uses one core, float64 input, and d = 10^6 by default. It prints GB/s of float64 input (encode) and output
(decode), the best of several runs; GB/s of memcpy of the same array; each compressor's ratio to memcpy; and for rand-h
the nanoseconds a kept coordinate.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mpi_fed.compressors import compressors
from mpi_fed.engine.compilation import compiling, kernel
from mpi_fed.engine.operations.compressor import Bytes, Message, Vector, decode, encode
from mpi_fed.engine.random_streams import Stream

RUNS = 9
COMPRESSORS: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "none", "value_bits": 64},
    {"kind": "none", "value_bits": 16},
    {"kind": "quantization", "levels": 1},
    {"kind": "quantization", "levels": 4},
    {"kind": "quantization", "levels": 1, "bucket": 512},
    {"kind": "bernoulli", "p": 0.5},
    {"kind": "bernoulli", "p": 0.1},
    {"kind": "bernoulli", "p": 0.001},
    {"kind": "rand-h", "h": 100_000},
    {"kind": "rand-h", "h": 1000},
    {"kind": "sketch", "h": 8},
]


@kernel
def pack(compressor: Any, x: Vector, payload: Bytes, message: Message) -> int:
    """Encode a message, and return its number of bytes."""
    return encode(compressor, x, payload, message)


@kernel
def unpack(compressor: Any, payload: Bytes, out: Vector, message: Message) -> None:
    """Add the decoded message to `out`."""
    decode(compressor, payload, 1.0, out, message)


def best(action: Callable[[], object]) -> float:
    """Return the seconds of the fastest of several runs."""
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


def main(d: int) -> None:
    """Print a line for each compressor."""
    x, out, copy = np.random.default_rng(0).standard_normal(d), np.zeros(d), np.empty(d)
    message = Message(Stream(np.uint64(1), np.uint64(2), np.uint64(3)), 1, 0)
    gigabytes = 8 * d / 1e9
    memcpy = gigabytes / best(lambda: np.copyto(copy, x))
    print(f"d = {d:,}; memcpy {memcpy:.1f} GB/s\n{'compressor':42} encode GB/s (of memcpy)   decode GB/s (of memcpy)")
    for table in COMPRESSORS:
        parameters = dict(table)
        compressor = compressors[parameters.pop("kind")](**parameters).resolve(d)
        compiled, payload = compressor.kernel(d), np.zeros(compressor.payload_bytes_max(d), np.uint8)
        with compiling():
            size = pack(compiled, x, payload, message)
            unpack(compiled, payload[:size], out, message)
        ends = [
            best(partial(pack, compiled, x, payload, message)),
            best(partial(unpack, compiled, payload[:size], out, message)),
        ]
        rates = "   ".join(f"{gigabytes / t:11.2f} ({gigabytes / t / memcpy:.2f})" for t in ends)
        kept = "  ".join(f"{1e9 * t / table['h']:.1f}" for t in ends) if table["kind"] == "rand-h" else ""
        name = " ".join(str(v) if k == "kind" else f"{k}={v}" for k, v in table.items())
        print(f"{name:42} {rates}   {kept and kept + ' ns a kept coordinate'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10**6)
