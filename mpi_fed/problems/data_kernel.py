"""Compiled gradients on a client's rows: on rows drawn with replacement or in shuffled passes, or on all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.compilation import kernel
from ..engine.operations.compressor import Vector
from ..engine.operations.problem import gradient
from ..engine.ordered_sums import dot
from ..engine.random_streams import DATA, GROUP, ORDER, Stream, key, threefry, uniforms, unit
from ..engine.schedule import Schedule

SEED, PASS = range(2)
"""Slots of a client's row in `shuffled`."""


class DataKernel(NamedTuple):
    """Rows of the hosted clients, one client after the other."""

    batch: int  # samples of a gradient; 0 for all rows
    epochs: bool  # true if rows are drawn in shuffled passes
    client: NDArray[np.uint64]  # (hosted,): the number of each hosted client
    start: NDArray[np.int64]  # (hosted + 1,): client c holds the rows start[c] <= r < start[c + 1]
    features: NDArray[np.float64]  # (rows, d)
    targets: NDArray[np.float64]  # (rows,)
    order: NDArray[np.int64]  # (rows,): each client's rows, shuffled for its current pass
    shuffled: NDArray[np.int64]  # (hosted, 2): slots SEED, PASS: the seed and the pass of each client's `order`
    draws: NDArray[np.float64]  # (GROUP,): scratch space


@kernel
def add_row(k: DataKernel, row: int, w: Vector, weight: float, g: Vector) -> None:
    """g += weight (<x, w> - y) x for one row."""
    x = k.features[row]
    scale = weight * (dot(x, w) - k.targets[row])
    for j in range(len(w)):
        g[j] += scale * x[j]


@kernel
def shuffle(k: DataKernel, client: int, seed: np.uint64, turn: int) -> None:
    """Put the client's rows in the order of pass `turn`, by a Fisher-Yates shuffle keyed by (seed, client, pass)."""
    first, n = k.start[client], k.start[client + 1] - k.start[client]
    order = k.order[first : first + n]
    for i in range(n):
        order[i] = first + i
    stream = Stream(seed, k.client[client], np.uint64(turn))
    for i in range(n - 1):
        if i % GROUP == 0:
            uniforms(stream, ORDER, np.uint64(i // 2), GROUP, k.draws)
        j = i + np.int64(k.draws[i % GROUP] * np.float64(n - i))
        order[i], order[j] = order[j], order[i]
    k.shuffled[client, SEED] = np.int64(seed)
    k.shuffled[client, PASS] = turn


@gradient.implement(DataKernel)
def data_gradient(kernel: DataKernel, schedule: Schedule, job: int, seed: np.uint64, w: Vector, g: Vector) -> None:
    """g <- the mean over the batch, or over all rows, of (<x, w> - y) x."""
    client = schedule.client[job]
    first, n = kernel.start[client], kernel.start[client + 1] - kernel.start[client]
    g.fill(0.0)
    if kernel.batch == 0:
        for i in range(n):
            add_row(kernel, first + i, w, 1.0 / np.float64(n), g)
        return
    weight, word = 1.0 / np.float64(kernel.batch), key(seed, DATA)
    before = job % schedule.steps * kernel.batch  # number of samples of the earlier steps in this round
    for s in range(before, before + kernel.batch):
        if kernel.epochs:
            position = schedule.round[job] * schedule.steps * kernel.batch + s
            turn = position // n
            if kernel.shuffled[client, SEED] != np.int64(seed) or kernel.shuffled[client, PASS] != turn:
                shuffle(kernel, client, seed, turn)
            row = kernel.order[first + position - turn * n]
        else:
            a, _ = threefry(word, kernel.client[client], np.uint64(schedule.round[job]), np.uint64(s))
            row = first + np.int64(unit(a) * np.float64(n))
        add_row(kernel, row, w, weight, g)


def data_kernel(clients: Sequence[Any], first: int, batch: int | str, epochs: bool) -> DataKernel:
    """Return the kernel for the hosted clients, which are numbered from `first`."""
    start = np.concatenate([[0], np.cumsum([len(c.targets) for c in clients])]).astype(np.int64)
    return DataKernel(
        batch=0 if batch == "full" else int(batch),
        epochs=epochs,
        client=np.arange(first, first + len(clients), dtype=np.uint64),
        start=start,
        features=np.concatenate([c.features for c in clients]),
        targets=np.concatenate([c.targets for c in clients]),
        order=np.empty(start[-1] if epochs else 0, np.int64),
        shuffled=np.full((len(clients), 2), -1, np.int64),
        draws=np.empty(GROUP),
    )
