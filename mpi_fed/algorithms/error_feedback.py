"""Error feedback, with which SGD converges even if the compressor is biased."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..compressors import Compressor
from ..engine.operations.algorithm import Client, outgoing
from ..engine.operations.compressor import Bytes, Message, decode
from .base import Array, Steps, algorithms, step_size
from .sgd import Sgd, SgdKernel


class ErrorFeedbackKernel(NamedTuple):
    """Parameters and memories of error feedback in compiled code."""

    sgd: SgdKernel
    errors: Array  # (hosted, d): e_i of the clients on this rank


@algorithms.register
class ErrorFeedback(Sgd):
    """SGD whose clients add the error of their last compression to the next message.

    Its parameters are those of `Algorithm`. It needs a compressor with `omega < 1` that leaves no client out, such as
    `top-k`.

    Notes
    -----
    Formula, with all errors e_i = 0 at the start:

        v_i     = e_i + gamma_k g_i(w_k)
        m_i     = C(v_i)
        e_i    <- v_i - m_i
        w_{k+1} = w_k - (1/N) sum_i m_i

    The compressor must be contractive, but may be biased: `||C(x) - x||^2 <= (1 - delta) ||x||^2` with delta > 0, so
    `omega = 1 - delta`. The constant step is `gamma = delta/(2 t R^2)` with t local steps. For every C,
    `w_k - mean_i e_i` moves by plain gradient steps, with gradients taken at w_k. `mpi-fed predict` makes no prediction
    for this algorithm.

    References
    ----------
    F. Seide, H. Fu, J. Droppo, G. Li and D. Yu, "1-bit stochastic gradient descent and its application to data-parallel
    distributed training of speech DNNs", Interspeech 2014. S. U. Stich, J.-B. Cordonnier and M. Jaggi, "Sparsified SGD
    with memory", NeurIPS 2018.
    """

    kind = "error-feedback"
    Kernel = ErrorFeedbackKernel
    two_way: ClassVar[bool] = False

    def check(self, compressor: Compressor, dimension: int) -> None:
        super().check(compressor, dimension)
        if compressor.may_be_absent:
            raise ValueError(
                f"error feedback needs every client in every round, but {compressor.kind} leaves some clients out; "
                f'give compressor kind = "top-k", or algorithm kind = "sgd"'
            )
        if compressor.omega_bound(dimension) >= 1:
            raise ValueError(
                f"error feedback needs a compressor with omega < 1, but {compressor.kind} has omega = "
                f'{compressor.omega_bound(dimension):.4g}; give compressor kind = "top-k", or algorithm kind = "sgd"'
            )

    def constant_step(self, omega: float, trace: float) -> float:
        return (1 - omega) / (2 * self.local_steps * trace)

    def client_bytes(self, dimension: int) -> int:
        return 8 * dimension

    def kernel(self, dimension: int, omega: float, steps: Steps, hosted: int, clients: int) -> NamedTuple:
        return ErrorFeedbackKernel(SgdKernel(steps, self.ridge), np.zeros((hosted, dimension)))

    @staticmethod
    def outgoing(kernel: ErrorFeedbackKernel, client: Client, round: int, w: Array, g: Array) -> None:
        """e_i <- e_i + gamma_k (g + lambda w), then g <- e_i, all of shape (d,)."""
        outgoing(kernel.sgd, client, round, w, g)
        step, error = step_size(kernel.sgd.steps, round), kernel.errors[client.row]
        for j in range(len(g)):
            error[j] += step * g[j]
            g[j] = error[j]

    @staticmethod
    def sent(kernel: ErrorFeedbackKernel, client: Client, compressor: Any, payload: Bytes, message: Message) -> None:
        """e_i <- e_i - m_i."""
        decode(compressor, payload, -1.0, kernel.errors[client.row], message)

    @staticmethod
    def update(kernel: ErrorFeedbackKernel, round: int, total: Array, w: Array) -> None:
        """w <- w - total, both of shape (d,); the messages contain the step size."""
        for j in range(len(w)):
            w[j] -= total[j]
