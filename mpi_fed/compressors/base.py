"""Base class of compressors: random maps C with E||C(x) - x||^2 <= omega ||x||^2, and E C(x) = x unless biased."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from ..component import Component, Registry
from ..engine.operations.compressor import OPERATIONS

Array = NDArray[np.float64]


class Compressor(Component):
    """Random map C of R^d whose value is sent as bytes.

    This is the base class of all compressors. A subclass states omega, the covariance that compression adds and the
    length of its payload, all as methods. Its static methods `encode` and `decode`, which are compiled, write and read
    the payload (`mpi_fed/engine/operations/compressor.py`). `decode` reads only the payload and the random numbers that
    client and root share.

    Parameters
    ----------
    value_bits : {16, 32, 64}, default: 32
        Bits of a float in the payload. 64 is exact, 32 rounds to the nearest float, 16 rounds at random and is
        therefore unbiased. A number beyond the range of the format (65,504 for 16 bits) ends the run with an error.

    Notes
    -----
    For every x in R^d

        E ||C(x) - x||^2 <= omega ||x||^2,    and    E C(x) = x unless the class is `biased`.

    A subclass must define `kind`, `Kernel`, `omega_bound`, `payload_bits`, `payload_bytes_max`, `kernel`, `encode` and
    `decode`. For exact predictions a `linear` one defines `moment_coefficients` or `second_moment`, and an
    `uncorrelated` one defines `variances`. `mpi-fed certify` compares all that it states with messages that it sends.

    Examples
    --------
    >>> from mpi_fed.compressors import compressors
    >>> compressor = compressors["rand-h"](omega=3.0).resolve(20)
    >>> compressor.h, compressor.omega_bound(20), compressor.payload_bits(20)
    (5, 3.0, 160.0)
    """

    value_bits: Literal[16, 32, 64] = 32

    biased: ClassVar[bool] = False
    """True if C(x) always equals `expectation(x)`, which differs from x."""
    may_be_absent: ClassVar[bool] = False
    """True if clients may be left out of a round. An absent client computes nothing and sends nothing."""
    linear: ClassVar[bool] = False
    """True if C is a random linear map independent of its input. `second_moment` is then exact for any law of g."""
    uncorrelated: ClassVar[bool] = False
    """True if the coordinates of C(x) are uncorrelated given x. `covariance` is then the diagonal of `variances`."""
    homogeneous: ClassVar[bool] = True
    """True if C(c x) has the law of c C(x) for every real c."""
    fixed_length: ClassVar[bool] = True
    """True if every message has the same number of bytes. The gather route needs that."""
    examples: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    """Parameters that `mpi-fed certify` tries, at each dimension that `resolve` accepts; the first one also with every
    value of `value_bits`. Random events rarer than one in ten need more draws than `certify` makes."""

    @property
    def summable(self) -> bool:
        """True if payloads consist of floats, and a round's payloads, added float by float, decode to their sum."""
        return self.common

    @property
    def common(self) -> bool:
        """True if all clients draw the same linear map in a round."""
        return getattr(self, "mask", None) == "common"

    def resolve(self, dimension: int, clients: int = 1) -> Compressor:
        """Return this compressor with all parameters set for a dimension, those that `omega` sets included.

        Parameters
        ----------
        dimension : int
            d, the length of the vectors.
        clients : int
            N, the number of clients.

        Returns
        -------
        Compressor
            A compressor of the same kind. Resolving it again changes nothing.

        Raises
        ------
        ValueError
            If the parameters do not fit the dimension; the message is one sentence.
        """
        return self

    def omega_bound(self, dimension: int) -> float:
        """Return omega, the variance bound in use: E||C(x) - x||^2 <= omega ||x||^2 for every x in R^d."""
        raise NotImplementedError

    def omega_tight(self, dimension: int) -> float | None:
        """Return the smallest variance bound, or None if it is not known."""
        return self.omega_bound(dimension)

    def expectation(self, x: Array) -> Array:
        """Return E C(x), (d,), at a fixed x, (d,)."""
        return x

    def moment_coefficients(self, dimension: int) -> tuple[float, float, float] | None:
        """Return (a, b, c) with E[C(g) C(g)^T] = a M + b Diag(M) + c Tr(M) I for M = E[g g^T], or None.

        Only linear compressors have these coefficients.
        """
        return None

    def second_moment(self, moment: Array) -> Array:
        """Return E[C(g) C(g)^T] for a random g. Linear compressors only.

        Parameters
        ----------
        moment : array, (d, d)
            M = E[g g^T].

        Returns
        -------
        array, (d, d)

        Raises
        ------
        NotImplementedError
            If the class defines neither `moment_coefficients` nor this method.
        """
        coefficients = self.moment_coefficients(len(moment))
        if coefficients is None:
            raise NotImplementedError
        a, b, c = coefficients
        return a * moment + np.diag(b * np.diag(moment) + c * np.trace(moment))

    def adjoint_second_moment(self, weights: Array) -> Array:
        """Return the adjoint of `second_moment`, applied to a matrix. Linear compressors only.

        Parameters
        ----------
        weights : array, (d, d)
            A symmetric matrix W.

        Returns
        -------
        array, (d, d)
            The symmetric K with Tr(K M) = Tr(W second_moment(M)) for every M. A compressor with `moment_coefficients`
            is its own adjoint.
        """
        d = len(weights)
        if self.moment_coefficients(d) is not None:
            return self.second_moment(weights)
        result = np.empty((d, d))
        for j in range(d):
            for k in range(j + 1):
                unit = np.zeros((d, d))
                unit[j, k] = unit[k, j] = 0.5 if j != k else 1.0
                result[j, k] = result[k, j] = (weights * self.second_moment(unit)).sum()
        return result

    def variances(self, x: Array) -> Array:
        """Return Var C(x)_j, (..., d), at fixed x, (..., d). Uncorrelated compressors only."""
        raise NotImplementedError

    def sampled(self, x: Array, rng: np.random.Generator) -> Array:
        """Return a draw of C(x) for each row of x, (n, d).

        Its law is that of an encoded and decoded message, apart from the rounding of floats. Theory uses it where no
        closed form is known. Defining it is optional.
        """
        raise NotImplementedError

    def covariance(self, x: Array) -> Array:
        """Return Cov(C(x)), (d, d), at a fixed x, (d,)."""
        if self.uncorrelated:
            return np.diag(self.variances(x))
        outer = np.outer(x, x)
        return self.second_moment(outer) - outer

    def payload_bits(self, dimension: int) -> float:
        """Return the expected bits of a message, before rounding to bytes."""
        raise NotImplementedError

    def payload_bytes_max(self, dimension: int) -> int:
        """Return the bytes of the longest message; every message has this length if `fixed_length`."""
        raise NotImplementedError

    def scratch_bytes(self, dimension: int) -> int:
        """Return an upper bound on the bytes of those arrays of the kernel that grow with the dimension."""
        return 4 * 8 * dimension

    def participants_max(self, clients: int) -> int:
        """Return the largest number of clients that may take part in a round; a run ends if more do."""
        return clients

    def kernel(self, dimension: int) -> NamedTuple:
        """Return the `Kernel` tuple at dimension d: the parameters and scratch arrays of `encode` and `decode`."""
        raise NotImplementedError


C = TypeVar("C", bound=Compressor)

Mask = Annotated[Literal["own", "common"] | None, AfterValidator(lambda mask: None if mask == "own" else mask)]
"""Mask of a round: "own" if each client draws its own, "common" if all draw the same. "own" is stored as None, so that
the key does not change the identity of a log."""

UNSET: Any = None
"""Default of a parameter that `resolve` computes from its alternative."""

compressors: Registry[Compressor] = Registry("compressor", OPERATIONS)


def one_of(compressor: Compressor, parameter: str, alternative: str) -> None:
    """Raise ValueError unless exactly one of two alternative parameters is given."""
    present = [name for name in (parameter, alternative) if _value(compressor, name) is not None]
    if len(present) != 1:
        problem = "are both given" if present else "are both missing"
        raise ValueError(f"{parameter} and {alternative} {problem}; give exactly one of them")


def kept_coordinates(compressor: C, dimension: int) -> C:
    """Return the compressor with h, the number of kept coordinates, set: as given, or max(1, floor(d/(1 + omega))).

    Raises ValueError if not exactly one of h and omega is given, or if h > d.
    """
    one_of(compressor, "h", "omega")
    h, omega = _value(compressor, "h"), _value(compressor, "omega")
    if h is None:
        h = max(1, math.floor(dimension / (1 + omega) * (1 + 1e-12)))
    if h > dimension:
        raise ValueError(f"h = {h} is more than the dimension {dimension}; give 1 to {dimension}")
    return compressor.model_copy(update={"h": h, "omega": None})


def index_bits(dimension: int) -> int:
    """Return ceil(log2 d), the bits of one explicit coordinate index."""
    return (dimension - 1).bit_length()


def refuse_common_indices(compressor: Compressor) -> None:
    """Raise ValueError for explicit indices of a common mask, which all clients know already."""
    if compressor.common and _value(compressor, "indices") == "explicit":
        raise ValueError('mask = "common" is drawn from the shared seed; leave indices = "explicit" out')


def _value(compressor: Compressor, name: str) -> Any:
    return getattr(compressor, name)
