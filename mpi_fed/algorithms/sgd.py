"""Distributed compressed stochastic gradient descent (compressed LMS)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from .base import Algorithm, Steps, algorithms, step_size


class SgdKernel(NamedTuple):
    steps: Steps
    ridge: float


@algorithms.register
class Sgd(Algorithm):
    """w_{k+1} = w_k - gamma_k (1/N) sum_i C_i(g_i(w_k)), with the Polyak-Ruppert average of w_0 .. w_{K-1}."""

    kind = "sgd"
    has_theory = True
    Kernel: ClassVar[Any] = SgdKernel

    def kernel(self, dimension: int, omega: float, steps: Steps, hosted: int, clients: int) -> NamedTuple:
        return SgdKernel(steps, self.ridge)

    @staticmethod
    def outgoing(kernel, client, round, w, g):
        if kernel.ridge > 0.0:
            for j in range(len(w)):
                g[j] += kernel.ridge * w[j]

    @staticmethod
    def update(kernel, round, total, w):
        step = step_size(kernel.steps, round)
        for j in range(len(w)):
            w[j] -= step * total[j]
