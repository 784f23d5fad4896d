"""Local steps: a client takes several steps by itself between two messages."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine.operations.problem import gradient
from ..engine.schedule import Schedule
from .base import Array, Steps, step_size


class LocalStepsKernel(NamedTuple):
    """Kernel of any problem, wrapped so that clients take local steps before they send a message."""

    problem: Any
    steps: Steps
    local: Array  # (d,): the client's local iterate
    gradient: Array  # (d,): one gradient at the local iterate


def local_steps_kernel(problem: NamedTuple, steps: Steps, dimension: int) -> LocalStepsKernel:
    """Return a kernel whose gradient is sum_{s<t} g_i(v_s), with v_0 = w_k and v_{s+1} = v_s - gamma_k g_i(v_s).

    The sum equals (w_k - v_t)/gamma_k. So without compression the new iterate of the root is the mean of the clients'
    v_t, as in local SGD or FedAvg (McMahan, Moore, Ramage, Hampson and Aguera y Arcas, 2017).
    """
    return LocalStepsKernel(problem, steps, np.zeros(dimension), np.zeros(dimension))


@gradient.implement(LocalStepsKernel)
def local_gradient(kernel: LocalStepsKernel, schedule: Schedule, job: int, seed: np.uint64, w: Array, g: Array) -> None:
    """g <- the sum of the gradients at the local iterates v_0, ..., v_(t-1); w and g have shape (d,)."""
    step, local, at_local = step_size(kernel.steps, schedule.round[job]), kernel.local, kernel.gradient
    for j in range(len(w)):
        local[j] = w[j]
    g.fill(0.0)
    for s in range(schedule.steps):
        gradient(kernel.problem, schedule, job + s, seed, local, at_local)
        for j in range(len(w)):
            g[j] += at_local[j]
            local[j] -= step * at_local[j]
