"""The closed linear recursion of the error's moments, and what is read off it.

With eta_k = w_k - w*, U_k = E[(eta_k, 1)(eta_k, 1)^T] and A = I - gamma H (H the clients' mean covariance)
    E[eta eta^T]_{k+1} = A E[eta eta^T]_k A + gamma^2 C(U_k),   E[eta]_{k+1} = A E[eta]_k,
    C(U) = N^-2 sum_i (Cov of a client's compressed gradient, averaged over eta): linear in U.
The sums Sigma_k = sum_{l<k} eta_l need, in H's eigenbasis (eigenvalues lambda, a = 1 - gamma lambda), only
    p_k = diag E[Sigma_k eta_k^T]:   p_{k+1} = a (p_k + s_k),   s_k = diag E[eta_k eta_k^T],
    q_k = E||Sigma_k||_H^2:          q_{k+1} = q_k + lambda . (2 p_k + s_k),
because E[eta_{k+1} | eta_k] = A eta_k. So (U, p, q) obeys one linear recursion, and
    E F(w_k) - F* = lambda . s_k / 2,   E F(mean of w_0 .. w_{k-1}) - F* = q_k / (2 k^2).
Changing gamma from round to round changes nothing of this.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from ..moments.symmetric_packing import CHUNK, Array
from .contour_integral import Resolvent


class Recursion(ABC):
    """A state is a row: the core, `core_size` numbers for U, the constant 1 last among them, then p (d), then q (1)."""

    eigenvalues: Array
    core_size: int
    """How many numbers the core has."""
    flops: float
    """Floating-point operations of a step of one state, about."""
    second_places: np.ndarray
    """Where the second moments stand in the core."""
    _matrix: tuple[float, Array] | None = None

    @property
    def size(self) -> int:
        """How many numbers a state has."""
        return self.core_size + len(self.eigenvalues) + 1

    @abstractmethod
    def core_of(self, mean: Array, variance: float) -> Array:
        """The core of an eta with this mean (d,) and covariance `variance` I."""

    @abstractmethod
    def squared_errors(self, core: Array) -> Array:
        """s, diag E[eta eta^T] in H's eigenbasis, (n, d), of n cores."""

    @abstractmethod
    def core_step(self, core: Array, gamma: float) -> Array:
        """The cores one round later."""

    @abstractmethod
    def noise_trace(self, core: Array) -> float:
        """Tr(C(U) H^-1) of one core (core,)."""

    @abstractmethod
    def noise_weights(self, core: Array) -> Array:
        """The eigenvalues of H^(-1/2) C(U) H^(-1/2), (d,): their sum is `noise_trace`."""

    @abstractmethod
    def noise_standard_error(self, core: Array) -> float:
        """Of `noise_trace`: what Monte Carlo left in the compressor's part; 0 for closed forms."""

    @abstractmethod
    def identity(self) -> Array:
        """A positive definite matrix of second moments, I, in the places `second`."""

    @abstractmethod
    def is_positive(self, second: Array) -> bool:
        """Whether these second moments are a positive definite matrix."""

    def step(self, states: Array, gamma: float) -> Array:
        """(n, size) states one round later."""
        core, p, q = self._split(states)
        s = self.squared_errors(core)
        after = (1 - gamma * self.eigenvalues) * (p + s)
        return np.column_stack([self.core_step(core, gamma), after, q + (2 * p + s) @ self.eigenvalues])

    def matrix(self, gamma: float) -> Array:
        """(size, size): states @ matrix = step(states, gamma). The last one asked for is kept: do not change it."""
        if self._matrix is None or self._matrix[0] != gamma:
            self._matrix = (gamma, self._build(gamma))
        return self._matrix[1]

    def _build(self, gamma: float) -> Array:
        identity = np.eye(self.size)
        width = max(1, CHUNK // self.size)
        for start in range(0, self.size, width):  # in place: row i is needed for row i alone
            identity[start : start + width] = self.step(identity[start : start + width], gamma)
        return identity

    def resolvent(self, gamma: float) -> Resolvent | None:
        """(z - T)^-1 of the step T, where H's eigenbasis gives it a structure; else None."""
        return None

    def operations_of_resolvent(self) -> float:
        """Of one use of it, about; infinite where there is none."""
        return math.inf

    def state(self, core: Array) -> Array:
        """The state (size,) at the start of an average: this U, empty sums."""
        return np.concatenate([core, np.zeros(self.size - self.core_size)])

    def last_risk(self, states: Array) -> Array:
        """Expected excess risk of the iterate, (n,)."""
        return 0.5 * self.squared_errors(self._split(states)[0]) @ self.eigenvalues

    def mean_risk(self, states: Array, counts: Array) -> Array:
        """Expected excess risk of the mean of `counts` iterates, (n,); of the iterate itself where 0."""
        sums = 0.5 * states[:, -1] / np.maximum(counts, 1.0) ** 2
        return np.where(counts > 0, sums, self.last_risk(states))

    def stationary(self, gamma: float) -> Array | None:
        """The core that a fixed step tends to, or None where the second moments have no limit.

        The second moments go by a positive map, so its spectral radius is below 1 exactly if X = map(X) + I
        has a positive definite solution.
        """
        core, after = self.stationary_means(), self.matrix(gamma)[: self.core_size, self.second_places]
        right = np.stack([core @ after, self.identity()], axis=1)
        solution = np.linalg.solve((np.eye(len(self.second_places)) - after[self.second_places]).T, right)
        if not np.isfinite(solution).all() or not self.is_positive(solution[:, 1]):
            return None
        core[self.second_places] = solution[:, 0]
        return core

    def stationary_means(self) -> Array:
        """A core of what a fixed step tends to, but for the second moments, which are zero here."""
        return np.append(np.zeros(self.core_size - 1), 1.0)

    def _split(self, states: Array) -> tuple[Array, Array, Array]:
        return states[:, : self.core_size], states[:, self.core_size : -1], states[:, -1]
