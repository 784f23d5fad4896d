"""Distributed compressed stochastic gradient descent (compressed LMS)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .base import Algorithm, Steps, algorithms


class SgdKernel(NamedTuple):
    scale: float
    exponent: float
    ridge: float


@algorithms.register
class Sgd(Algorithm):
    """w_{k+1} = w_k - gamma_k (1/N) sum_i C_i(g_i(w_k)), with the Polyak-Ruppert average of w_0 .. w_{K-1}."""

    kind = "sgd"
    Kernel = SgdKernel

    def kernel(self, dimension: int, omega: float, steps: Steps, hosted: int) -> SgdKernel:
        return SgdKernel(steps.scale, steps.exponent, self.ridge)

    @staticmethod
    def outgoing(kernel, client, w, g):
        if kernel.ridge > 0.0:
            for j in range(len(w)):
                g[j] += kernel.ridge * w[j]

    @staticmethod
    def update(kernel, round, total, w):
        step = kernel.scale
        if kernel.exponent > 0.0:
            step = kernel.scale * np.float64(round + 1) ** -kernel.exponent
        for j in range(len(w)):
            w[j] -= step * total[j]
