"""Distributed compressed stochastic gradient descent."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from ..engine.operations.algorithm import Client
from .base import Algorithm, Array, Steps, algorithms, step_size


class SgdKernel(NamedTuple):
    """Parameters of SGD in compiled code."""

    steps: Steps
    ridge: float


@algorithms.register
class Sgd(Algorithm):
    """Distributed compressed SGD, which for least squares is compressed LMS.

    Its parameters are those of `Algorithm`.

    Notes
    -----
    Each client sends its compressed stochastic gradient, and the root steps along the mean of the messages:

        w_{k+1} = w_k - gamma_k (1/N) sum_i C_i(g_i(w_k)).

    A run reports the last iterate and the Polyak-Ruppert average of w_0 .. w_{K-1} (or of the tail).

    References
    ----------
    C. Philippenko and A. Dieuleveut, "Compressed and distributed least-squares regression: convergence rates with
    applications to Federated Learning", arXiv 2308.01358 (2023).
    """

    kind = "sgd"
    has_theory = True
    Kernel: ClassVar[Any] = SgdKernel

    def kernel(self, dimension: int, omega: float, steps: Steps, hosted: int, clients: int) -> NamedTuple:
        return SgdKernel(steps, self.ridge)

    @staticmethod
    def outgoing(kernel: Any, client: Client, round: int, w: Array, g: Array) -> None:
        """g <- g + lambda w, both of shape (d,)."""
        if kernel.ridge > 0.0:
            for j in range(len(w)):
                g[j] += kernel.ridge * w[j]

    @staticmethod
    def update(kernel: Any, round: int, total: Array, w: Array) -> None:
        """w <- w - gamma_k total, both of shape (d,)."""
        step = step_size(kernel.steps, round)
        for j in range(len(w)):
            w[j] -= step * total[j]
