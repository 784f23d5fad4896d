"""Several steps of its own between two messages of a client: the other way of communicating less."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine.operations.problem import gradient
from .base import Array, Steps, step_size


class LocalStepsKernel(NamedTuple):
    """Any problem's kernel, whose clients take steps before they say what they have found."""

    problem: Any
    steps: Steps
    local: Array  # (d,), where the client is
    gradient: Array  # (d,), one gradient there


def local_steps_kernel(problem: NamedTuple, steps: Steps, dimension: int) -> LocalStepsKernel:
    """With t local steps v_0 = w_k, v_{s+1} = v_s - gamma_k g_i(v_s), a client's gradient is sum_{s<t} g_i(v_s).

    That is (w_k - v_t)/gamma_k, so without compression the root's step is the mean of the clients' v_t: local SGD or
    FedAvg (McMahan, Moore, Ramage, Hampson and Aguera y Arcas, 2017).
    """
    return LocalStepsKernel(problem, steps, np.zeros(dimension), np.zeros(dimension))


@gradient.implement(LocalStepsKernel)
def local_gradient(kernel, schedule, job, seed, w, g):
    """g <- the sum of the gradients along the local steps."""
    step, local, at_local = step_size(kernel.steps, schedule.round[job]), kernel.local, kernel.gradient
    for j in range(len(w)):
        local[j] = w[j]
    g.fill(0.0)
    for s in range(schedule.steps):
        gradient(kernel.problem, schedule, job + s, seed, local, at_local)
        for j in range(len(w)):
            g[j] += at_local[j]
            local[j] -= step * at_local[j]
