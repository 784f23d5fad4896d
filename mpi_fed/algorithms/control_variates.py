"""Control variates, for heterogeneous clients, whose gradients do not vanish at w*."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..engine.operations.algorithm import Client, outgoing, update
from ..engine.operations.compressor import Bytes, Message, decode
from .base import Array, Steps, algorithms
from .sgd import Sgd, SgdKernel


class ControlVariatesKernel(NamedTuple):
    """Parameters and memories of control variates in compiled code."""

    sgd: SgdKernel
    alpha: float  # rate of the memories
    memory: Array  # (hosted, d): h_i of the clients on this rank
    mean: Array  # (d,): the mean of all h_i, on the root


@algorithms.register
class ControlVariates(Sgd):
    """SGD whose clients compress the difference between their gradient and a memory (DIANA, Artemis).

    Its parameters are those of `Algorithm`; `alpha` is the rate of the memories.

    Notes
    -----
    Formula, with all memories h_i = 0 at the start:

        m_i     = C_i(g_i(w_k) - h_i)
        w_{k+1} = w_k - gamma_k (1/N) sum_i (h_i + m_i)
        h_i    <- h_i + alpha m_i

    `alpha` is `1/(2 (omega + 1))` by default. Client i keeps h_i. The root keeps only the mean of the h_i, which moves
    by alpha times the mean of the m_i.

    With a compressed downlink this algorithm is Artemis. The root then compresses the direction
    `mean_i h_i + mean_i m_i`. The memories change by the messages of the clients, as without a compressed downlink, and
    the default of `alpha` uses the omega of the uplink.

    The memories help if clients are heterogeneous and their gradients are nearly exact (large batches, or "full").
    With batches of one sample, the algorithm is usually worse than `sgd`.

    References
    ----------
    K. Mishchenko, E. Gorbunov, M. Takac and P. Richtarik, "Distributed learning with compressed gradient differences"
    (2019). C. Philippenko and A. Dieuleveut, "Bidirectional compression in heterogeneous settings for distributed or
    federated learning with partial participation: tight convergence guarantees", arXiv 2006.14591 (2020).
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
    def outgoing(kernel: ControlVariatesKernel, client: Client, round: int, w: Array, g: Array) -> None:
        """g <- g + lambda w - h_i, all of shape (d,)."""
        outgoing(kernel.sgd, client, round, w, g)
        memory = kernel.memory[client.row]
        for j in range(len(g)):
            g[j] -= memory[j]

    @staticmethod
    def sent(kernel: ControlVariatesKernel, client: Client, compressor: Any, payload: Bytes, message: Message) -> None:
        """h_i <- h_i + alpha m_i."""
        decode(compressor, payload, kernel.alpha, kernel.memory[client.row], message)

    @staticmethod
    def direction(kernel: ControlVariatesKernel, round: int, total: Array) -> None:
        """total <- mean_i h_i + m, then mean_i h_i += alpha m, with the mean message m = total; all of shape (d,)."""
        mean = kernel.mean
        for j in range(len(total)):
            message = total[j]
            total[j] = mean[j] + message
            mean[j] += kernel.alpha * message

    @staticmethod
    def update(kernel: ControlVariatesKernel, round: int, total: Array, w: Array) -> None:
        """w <- w - gamma_k total, both of shape (d,)."""
        update(kernel.sgd, round, total, w)
