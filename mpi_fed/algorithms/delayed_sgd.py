"""SGD whose gradients are one round late."""

from __future__ import annotations

from typing import ClassVar

from .base import algorithms
from .sgd import Sgd


@algorithms.register
class DelayedSgd(Sgd):
    """SGD with gradients at the previous iterate, so that messages travel while the next gradients are computed.

    Its parameters are those of `Algorithm`.

    Notes
    -----
    Formula:

        w_{k+1} = w_k - gamma_k (1/N) sum_i C_i(g_i(w_{k-1})),    w_{-1} = w_0.

    The messages of round k need only w_{k-1}. If the route supports it and `overlap` is not false, they are computed
    while the messages of round k - 1 travel (`mpi_fed/engine/operations/overlap.py`). The iterates are the same without
    overlap.

    Stability: on average, the component of `w - w*` along an eigenvector of H with eigenvalue l evolves with the roots
    of `z^2 - z + gamma l`. Both roots are below 1 in modulus if `gamma l < 1`. `sgd` needs only `gamma l < 2`, so its
    steps may be larger.

    The limit trace is the same as for `sgd`, since the delay changes the mean of the iterates only by a higher order in
    gamma.

    References
    ----------
    A. Agarwal and J. C. Duchi, "Distributed delayed stochastic optimization", NIPS 2011.
    """

    kind = "delayed-sgd"
    has_theory = True
    delayed: ClassVar[bool] = True
