"""Compressed differences to memories: what heterogeneous clients need, since their gradients do not vanish at w*."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from ..engine.operations.algorithm import outgoing, update
from ..engine.operations.compressor import decode
from .base import Array, Steps, algorithms
from .sgd import Sgd, SgdKernel


class ControlVariatesKernel(NamedTuple):
    sgd: SgdKernel
    alpha: float
    memory: Array  # (hosted, d), h_i of the clients on this rank
    mean: Array  # (d,), the root's: the mean of all h_i


@algorithms.register
class ControlVariates(Sgd):
    """Each client compresses its gradient's difference to a memory that it and the root keep (DIANA, Artemis).

    m_i = C_i(g_i(w_k) - h_i),  w_{k+1} = w_k - gamma_k (1/N) sum_i (h_i + m_i),  h_i <- h_i + alpha m_i,  h_i = 0 at
    first. alpha defaults to 1/(2 (omega+1)). The root keeps only the mean of the h_i, which moves by alpha times the
    mean of the m_i. Mishchenko, Gorbunov, Takac and Richtarik, "Distributed learning with compressed gradient
    differences" (2019); Philippenko and Dieuleveut (2020).
    """

    kind = "control-variates"
    has_theory = True
    Kernel = ControlVariatesKernel
    always_updates: ClassVar[bool] = True

    def memory_rate(self, omega: float) -> float:
        return 1 / (2 * (omega + 1)) if self.alpha == "default" else float(self.alpha)

    def client_bytes(self, dimension: int) -> int:
        return 8 * dimension

    def kernel(self, dimension: int, omega: float, steps: Steps, hosted: int, clients: int) -> NamedTuple:
        return ControlVariatesKernel(
            sgd=SgdKernel(steps, self.ridge),
            alpha=self.memory_rate(omega),
            memory=np.zeros((hosted, dimension)),
            mean=np.zeros(dimension),
        )

    @staticmethod
    def outgoing(kernel, client, round, w, g):
        outgoing(kernel.sgd, client, round, w, g)
        memory = kernel.memory[client.row]
        for j in range(len(g)):
            g[j] -= memory[j]

    @staticmethod
    def sent(kernel, client, compressor, payload, message):
        decode(compressor, payload, kernel.alpha, kernel.memory[client.row], message)

    @staticmethod
    def direction(kernel, round, total):
        mean = kernel.mean
        for j in range(len(total)):
            message = total[j]
            total[j] = mean[j] + message
            mean[j] += kernel.alpha * message

    @staticmethod
    def update(kernel, round, total, w):
        update(kernel.sgd, round, total, w)
