"""SGD one round late: what a round computes does not wait for what the round before has sent."""

from __future__ import annotations

from typing import ClassVar

from .base import algorithms
from .sgd import Sgd


@algorithms.register
class DelayedSgd(Sgd):
    """w_{k+1} = w_k - gamma_k (1/N) sum_i C_i(g_i(w_{k-1})),  w_{-1} = w_0.

    The messages of round k need w_{k-1} alone: they are made while those of round k - 1 travel, on a route that can
    (`engine/operations/overlap.py`). Of w - w*, the part along an eigenvector of H with eigenvalue l goes on by the
    roots of z^2 - z + gamma l on average, which are below 1 for gamma l < 1, where those of sgd ask for 2. The
    limit trace is that of sgd: to the mean of the iterates the delay is of a higher order in gamma. Agarwal and
    Duchi, "Distributed delayed stochastic optimization" (2011).
    """

    kind = "delayed-sgd"
    has_theory = True
    delayed: ClassVar[bool] = True
