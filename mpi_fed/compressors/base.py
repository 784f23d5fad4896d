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

    This is the base class of all compressors. The methods of a subclass return omega, the moments of C and the length
    of the payload. Its static methods `encode` and `decode`, which are compiled, write and read the payload
    (`mpi_fed/engine/operations/compressor.py`). `decode` uses only the payload and the random numbers that client and
    root share.

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
    `decode`. For exact predictions, a `linear` compressor defines `moment_coefficients` or `second_moment`, and an
    `uncorrelated` compressor defines `variances`. `mpi-fed certify` compares the results of these methods with messages
    that were really sent.

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
    """True if C is a random linear map independent of its input. `second_moment` is then exact for every distribution
    of g."""
    uncorrelated: ClassVar[bool] = False
    """True if the coordinates of C(x) are uncorrelated given x. `covariance` is then the diagonal of `variances`."""
    homogeneous: ClassVar[bool] = True
    """True if C(c x) has the same distribution as c C(x) for every real number c."""
    fixed_length: ClassVar[bool] = True
    """True if every message has the same number of bytes, as route `gather` requires."""
    examples: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    """Parameters that `mpi-fed certify` tries, at each dimension that `resolve` accepts. It tries the first entry also
    with every value of `value_bits`. Choose parameters whose random events have probabilities of at least 1/10, since
    rarer events need more draws than `certify` makes."""

    @property
    def summable(self) -> bool:
        """True if payloads are floats, and the payloads of a round, added float by float, decode to the sum of C(x)."""
        return self.common

    @property
    def common(self) -> bool:
        """True if all clients draw the same linear map in a round."""
        return getattr(self, "mask", None) == "common"

    def resolve(self, dimension: int, clients: int = 1) -> Compressor:
        """Return this compressor with all parameters set for a dimension, including those that `omega` determines.

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
        """Return E C(x) for a fixed x, both of shape (d,)."""
        return x

    def moment_coefficients(self, dimension: int) -> tuple[float, float, float] | None:
        """Return (a, b, c) with E[C(g) C(g)^T] = a M + b Diag(M) + c Tr(M) I for M = E[g g^T], or None.

        None means that there are no such coefficients. Only linear compressors can have them.
        """
        return None

    def second_moment(self, moment: Array) -> Array:
        """Return E[C(g) C(g)^T] for a random g, if the compressor is linear.

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
        """Return the adjoint of `second_moment`, applied to a matrix, if the compressor is linear.

        Parameters
        ----------
        weights : array, (d, d)
            A symmetric matrix W.

        Returns
        -------
        array, (d, d)
            The symmetric K with Tr(K M) = Tr(W second_moment(M)) for every M. With `moment_coefficients` it is
            second_moment(W).
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
        """Return Var C(x)_j for a fixed x, both of shape (..., d), if the compressor is uncorrelated."""
        raise NotImplementedError

    def sampled(self, x: Array, rng: np.random.Generator) -> Array:
        """Return one draw of C(x) for each row x of an array of shape (n, d).

        A draw has the distribution of an encoded and decoded message, apart from the rounding of floats. Predictions
        use draws where no closed form is known. A subclass need not define this method.
        """
        raise NotImplementedError

    def covariance(self, x: Array) -> Array:
        """Return the covariance of C(x), of shape (d, d), for a fixed x of shape (d,)."""
        if self.uncorrelated:
            return np.diag(self.variances(x))
        outer = np.outer(x, x)
        return self.second_moment(outer) - outer

    def payload_bits(self, dimension: int) -> float:
        """Return the expected number of bits of a message, before it is rounded up to whole bytes."""
        raise NotImplementedError

    def payload_bytes_max(self, dimension: int) -> int:
        """Return the number of bytes of the longest message. If `fixed_length`, every message has this length."""
        raise NotImplementedError

    def scratch_bytes(self, dimension: int) -> int:
        """Return an upper bound on the memory, in bytes, of the kernel's arrays that grow with the dimension."""
        return 4 * 8 * dimension

    def participants_max(self, clients: int) -> int:
        """Return the largest number of clients that may take part in a round; more of them end a run with an error."""
        return clients

    def kernel(self, dimension: int) -> NamedTuple:
        """Return the `Kernel` tuple at dimension d: the parameters and scratch arrays of `encode` and `decode`."""
        raise NotImplementedError


C = TypeVar("C", bound=Compressor)

Mask = Annotated[Literal["own", "common"] | None, AfterValidator(lambda mask: None if mask == "own" else mask)]
"""Type of the key `mask`: "own" if each client draws its own mask in a round, "common" if all clients draw the same.

"own" is stored as None, so that `mask = "own"` and a missing key give a log the same id."""

UNSET: Any = None
"""Default of a parameter that `resolve` computes from an alternative parameter, for example h from omega."""

compressors: Registry[Compressor] = Registry("compressor", OPERATIONS)


def one_of(compressor: Compressor, parameter: str, alternative: str) -> None:
    """Raise ValueError unless exactly one of two alternative parameters is given."""
    present = [name for name in (parameter, alternative) if _value(compressor, name) is not None]
    if len(present) != 1:
        problem = "are both given" if present else "are both missing"
        raise ValueError(f"{parameter} and {alternative} {problem}; give exactly one of them")


def kept_coordinates(compressor: C, dimension: int) -> C:
    """Return the compressor with its number h of kept coordinates: the given h, or max(1, floor(d/(1 + omega))).

    Raises ValueError if h and omega are both given or both missing, or if h > d.
    """
    one_of(compressor, "h", "omega")
    h, omega = _value(compressor, "h"), _value(compressor, "omega")
    if h is None:
        h = max(1, math.floor(dimension / (1 + omega) * (1 + 1e-12)))
    if h > dimension:
        raise ValueError(f"h = {h} is more than the dimension {dimension}; give 1 to {dimension}")
    return compressor.model_copy(update={"h": h, "omega": None})


def index_bits(dimension: int) -> int:
    """Return ceil(log2 d), the number of bits of an explicit index of a coordinate."""
    return (dimension - 1).bit_length()


def refuse_common_indices(compressor: Compressor) -> None:
    """Raise ValueError if explicit indices are given for a common mask, which the root knows without them."""
    if compressor.common and _value(compressor, "indices") == "explicit":
        raise ValueError(
            'mask = "common" is drawn from the shared seed and needs no indices; remove indices = "explicit"'
        )


def _value(compressor: Compressor, name: str) -> Any:
    return getattr(compressor, name)
