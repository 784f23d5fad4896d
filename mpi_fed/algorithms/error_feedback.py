"""Error feedback: what compression left out is added to what is sent next, so that a biased compressor converges."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.operations.algorithm import outgoing
from ..engine.operations.compressor import decode
from .base import Array, Steps, algorithms, step_size
from .sgd import Sgd, SgdKernel


class ErrorFeedbackKernel(NamedTuple):
    sgd: SgdKernel
    errors: Array  # (hosted, d), e_i of the clients on this rank


@algorithms.register
class ErrorFeedback(Sgd):
    """v_i = e_i + gamma_k g_i(w_k),  m_i = C(v_i),  e_i <- v_i - m_i,  w_{k+1} = w_k - (1/N) sum_i m_i;  first e_i = 0.

    For contractive compressors, ||C(x) - x||^2 <= (1 - delta) ||x||^2 with delta > 0, biased or not; omega is
    1 - delta, and the constant step is gamma = delta/(2 t R^2) with t local steps. Whatever C is, w_k - mean_i e_i
    moves by plain gradient steps, the gradients taken at the w_k. Seide, Fu, Droppo, Li and Yu (2014); Stich,
    Cordonnier and Jaggi (2018).
    """

    kind = "error-feedback"
    Kernel = ErrorFeedbackKernel
    two_way: ClassVar[bool] = False

    def check(self, compressor: Compressor, dimension: int) -> None:
        super().check(compressor, dimension)
        if compressor.may_be_absent:
            raise ValueError(
                f"error feedback needs every client in every round, and {compressor.kind} leaves some out; "
                f'give compressor kind = "top-k", or algorithm kind = "sgd"'
            )
        if compressor.omega_bound(dimension) >= 1:
            raise ValueError(
                f"error feedback needs a compressor with omega < 1, and {compressor.kind} has omega = "
                f'{compressor.omega_bound(dimension):.4g}; give compressor kind = "top-k", or algorithm kind = "sgd"'
            )

    def constant_step(self, omega: float, trace: float) -> float:
        return (1 - omega) / (2 * self.local_steps * trace)

    def client_bytes(self, dimension: int) -> int:
        return 8 * dimension

    def kernel(self, dimension: int, omega: float, steps: Steps, hosted: int, clients: int) -> NamedTuple:
        return ErrorFeedbackKernel(SgdKernel(steps, self.ridge), np.zeros((hosted, dimension)))

    @staticmethod
    def outgoing(kernel, client, round, w, g):
        outgoing(kernel.sgd, client, round, w, g)
        step, error = step_size(kernel.sgd.steps, round), kernel.errors[client.row]
        for j in range(len(g)):
            error[j] += step * g[j]
            g[j] = error[j]

    @staticmethod
    def sent(kernel, client, compressor, payload, message):
        decode(compressor, payload, -1.0, kernel.errors[client.row], message)

    @staticmethod
    def update(kernel, round, total, w):
        for j in range(len(w)):
            w[j] -= total[j]
