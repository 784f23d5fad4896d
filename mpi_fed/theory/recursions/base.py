"""The closed linear recursion of the error's moments, and the risks computed from it.

Let eta_k = w_k - w*, u_k = (eta_k, 1), U_k = E[u_k u_k^T] and A = I - gamma H, with H the clients' mean covariance.
S(U) is the covariance of the mean compressed gradient given eta, averaged over eta; it is linear in U. Then
    E[eta_{k+1} eta_{k+1}^T] = A E[eta_k eta_k^T] A + gamma^2 S(U_k),   E[eta_{k+1}] = A E[eta_k].
For the sums Sigma_k = sum_{l<k} eta_l the recursion also needs two vectors of d numbers, s_k and p_k, and a number q_k.
They are in H's eigenbasis; lambda is the vector of eigenvalues, and products of vectors are elementwise:
    s_k = diag E[eta_k eta_k^T],
    p_k = diag E[Sigma_k eta_k^T]:   p_{k+1} = (1 - gamma lambda) (p_k + s_k),     p_0 = 0,
    q_k = E||Sigma_k||_H^2:          q_{k+1} = q_k + <lambda, 2 p_k + s_k>,        q_0 = 0,
because E[eta_{k+1} | eta_k] = A eta_k. So (U, p, q) follows one linear recursion, and
    E F(w_k) - F* = <lambda, s_k> / 2,   E F(mean of w_0 .. w_{k-1}) - F* = q_k / (2 k^2).
All of this holds for a gamma that changes from round to round.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from ..moments.symmetric_packing import CHUNK, Array
from .contour_integral import Resolvent


class Recursion(ABC):
    """A recursion of states. A state is a row of numbers with three parts: the core, p and q.

    The core has `core_size` numbers: the moments in U, and at its end the constant 1. p has d numbers, and q is one.
    """

    eigenvalues: Array
    """Eigenvalues of H, of shape (d,)."""
    core_size: int
    """Number of elements of the core."""
    flops: float
    """Approximate number of floating-point operations of a step of one state."""
    second_places: NDArray[np.intp]
    """Positions of the second moments in the core."""
    _matrix: tuple[float, Array] | None = None

    @property
    def size(self) -> int:
        """The number of elements of a state."""
        return self.core_size + len(self.eigenvalues) + 1

    @abstractmethod
    def core_of(self, mean: Array, variance: float) -> Array:
        """Return the core (core_size,) of an eta whose mean is `mean` (d,) and whose covariance is `variance` I."""

    @abstractmethod
    def squared_errors(self, core: Array) -> Array:
        """Return s = diag E[eta eta^T] in H's eigenbasis, of shape (n, d), for cores (n, core_size)."""

    @abstractmethod
    def core_step(self, core: Array, gamma: float) -> Array:
        """Return the cores (n, core_size) one round later."""

    @abstractmethod
    def noise_trace(self, core: Array) -> float:
        """Return Tr(S(U) H^-1) for one core (core_size,)."""

    @abstractmethod
    def noise_weights(self, core: Array) -> Array:
        """Return the eigenvalues of H^(-1/2) S(U) H^(-1/2), of shape (d,), for one core; their sum is `noise_trace`."""

    @abstractmethod
    def noise_standard_error(self, core: Array) -> float:
        """Return the standard error of `noise_trace`; 0 if no part of it is estimated by Monte Carlo."""

    @abstractmethod
    def identity(self) -> Array:
        """Return the second moments of a positive definite matrix, such as I, in the order of `second_places`."""

    @abstractmethod
    def is_positive(self, second: Array) -> bool:
        """Return True if the matrix of these second moments is positive definite; their order is `second_places`."""

    def step(self, states: Array, gamma: float) -> Array:
        """Return the states (n, size) one round later."""
        core, p, q = self._split(states)
        s = self.squared_errors(core)
        after = (1 - gamma * self.eigenvalues) * (p + s)
        return np.column_stack([self.core_step(core, gamma), after, q + (2 * p + s) @ self.eigenvalues])

    def matrix(self, gamma: float) -> Array:
        """Return the matrix (size, size) for which states @ matrix = step(states, gamma).

        The matrix of the last gamma is cached; callers must not change it.
        """
        if self._matrix is None or self._matrix[0] != gamma:
            self._matrix = (gamma, self._build(gamma))
        return self._matrix[1]

    def _build(self, gamma: float) -> Array:
        identity = np.eye(self.size)
        width = max(1, CHUNK // self.size)
        for start in range(0, self.size, width):  # in place: row i of the result depends only on row i
            identity[start : start + width] = self.step(identity[start : start + width], gamma)
        return identity

    def resolvent(self, gamma: float) -> Resolvent | None:
        """Return the resolvent (z - T)^-1 of the step T, or None if it has no fast form in H's eigenbasis."""
        return None

    def operations_of_resolvent(self) -> float:
        """Return the approximate number of operations of one use of the resolvent; infinite if it does not exist."""
        return math.inf

    def state(self, core: Array) -> Array:
        """Return the state (size,) at the start of an average. It has this core, and p = q = 0."""
        return np.concatenate([core, np.zeros(self.size - self.core_size)])

    def last_risk(self, states: Array) -> Array:
        """Return the expected excess risk of the iterate, of shape (n,)."""
        return 0.5 * self.squared_errors(self._split(states)[0]) @ self.eigenvalues

    def mean_risk(self, states: Array, counts: Array) -> Array:
        """Return the expected excess risk (n,) of the mean of `counts` iterates, or of the iterate if counts is 0."""
        sums = 0.5 * states[:, -1] / np.maximum(counts, 1.0) ** 2
        return np.where(counts > 0, sums, self.last_risk(states))

    def stationary(self, gamma: float) -> Array | None:
        """Return the stationary core of a fixed step size, or None if the second moments have no limit.

        A round without noise at w* is a positive map of the second moments. So its spectral radius is below 1 exactly
        if X = map(X) + I has a positive definite solution.
        """
        core, after = self.stationary_means(), self.matrix(gamma)[: self.core_size, self.second_places]
        right = np.stack([core @ after, self.identity()], axis=1)
        gap = (np.eye(len(self.second_places)) - after[self.second_places]).T
        solution: Array = np.asarray(np.linalg.solve(gap, right), dtype=np.float64)
        if not np.isfinite(solution).all() or not self.is_positive(solution[:, 1]):
            return None
        core[self.second_places] = solution[:, 0]
        return core

    def stationary_means(self) -> Array:
        """Return the stationary core of a fixed step size, with zeros in the places of the second moments."""
        return np.append(np.zeros(self.core_size - 1), 1.0)

    def _split(self, states: Array) -> tuple[Array, Array, Array]:
        return states[:, : self.core_size], states[:, self.core_size : -1], states[:, -1]
