"""Several steps of its own between two messages of a client: the other way of communicating less."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..descent import OPERATIONS, outgoing, sent, update
from ..sampling import gradient
from .base import Array, Steps, step_size


class LocalStepsKernel(NamedTuple):
    """Any algorithm's kernel, whose clients step on their own before they send."""

    algorithm: Any
    steps: Steps
    local: Array  # (d,), where the client is
    one: Array  # (d,), one gradient there


def local_steps_kernel(algorithm: NamedTuple, steps: Steps, dimension: int) -> LocalStepsKernel:
    """With t local steps v_0 = w_k, v_{s+1} = v_s - gamma_k g_i(v_s), a client's gradient is sum_{s<t} g_i(v_s).

    That is (w_k - v_t)/gamma_k, so without compression the root's step is the mean of the clients' v_t: local SGD or
    FedAvg (McMahan, Moore, Ramage, Hampson and Aguera y Arcas, 2017)."""
    return LocalStepsKernel(algorithm, steps, np.zeros(dimension), np.zeros(dimension))


def _local_gradient(kernel, problem, jobs, job, seed, round, w, g):
    step, local, one = step_size(kernel.steps, round), kernel.local, kernel.one
    for j in range(len(w)):
        local[j] = w[j]
    g.fill(0.0)
    for s in range(jobs.steps):
        gradient(problem, jobs, job + s, seed, local, one)
        for j in range(len(w)):
            g[j] += one[j]
            local[j] -= step * one[j]


def _outgoing(kernel, client, round, w, g):
    outgoing(kernel.algorithm, client, round, w, g)


def _sent(kernel, client, compressor, payload, stream):
    sent(kernel.algorithm, client, compressor, payload, stream)


def _update(kernel, round, total, w):
    update(kernel.algorithm, round, total, w)


for function in (_local_gradient, _outgoing, _sent, _update):
    OPERATIONS[function.__name__[1:]].implement(LocalStepsKernel, function)
