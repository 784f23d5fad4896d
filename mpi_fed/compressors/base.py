"""What a compressor is: a random map C with E||C(x) - x||^2 <= omega ||x||^2, and E C(x) = x unless it is biased."""

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
    """A compression operator: its mathematics as methods, its wire as two compiled functions.

    A subclass states omega, the covariance it adds and its payload; `encode` and `decode` (static methods, compiled)
    are the wire. `decode` reads the payload and the shared random stream, nothing else.
    """

    value_bits: Literal[16, 32, 64] = 32
    """Bits of a float on the wire: float64, float32 (to nearest) or float16 (rounded stochastically)."""

    biased: ClassVar[bool] = False
    """C(x) is `expectation(x)`, with certainty, and not x."""
    may_be_absent: ClassVar[bool] = False
    """Clients may take no part in a round: they compute nothing then, and send nothing."""
    linear: ClassVar[bool] = False
    """C is a random linear map independent of its input; then `second_moment` is exact for any input law."""
    uncorrelated: ClassVar[bool] = False
    """Given x the coordinates of C(x) are uncorrelated: `variances` says all that `covariance` does."""
    homogeneous: ClassVar[bool] = True
    """C(c x) has the law of c C(x) for every real c."""
    fixed_length: ClassVar[bool] = True
    """Every message has the same number of bytes (the gather route needs that)."""
    examples: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    """Parameters that `mpi-fed certify` tries, at each dimension that `resolve` lets them serve; the first also with
    every `value_bits`. Random events rarer than one in ten need more draws than it makes."""

    @property
    def summable(self) -> bool:
        """Payloads are nothing but floats, and the sum of a round's messages, float by float, decodes to their sum."""
        return self.common

    @property
    def common(self) -> bool:
        """All clients draw one and the same linear map in a round."""
        return getattr(self, "mask", None) == "common"

    def resolve(self, dimension: int, clients: int = 1) -> Compressor:
        """This compressor with every parameter set for dimension d and N clients; `omega = X` becomes a parameter.

        Raises ValueError, one sentence, for parameters that cannot serve this dimension.
        """
        return self

    def omega_bound(self, dimension: int) -> float:
        """The variance constant in use: E||C(x) - x||^2 <= omega ||x||^2 for every x in R^d."""
        raise NotImplementedError

    def omega_tight(self, dimension: int) -> float | None:
        """The smallest such constant where it is known, else None."""
        return self.omega_bound(dimension)

    def expectation(self, x: Array) -> Array:
        """E C(x), (d,), at a fixed x (d,)."""
        return x

    def moment_coefficients(self, dimension: int) -> tuple[float, float, float] | None:
        """(a, b, c) where E[C(g)C(g)^T] = a M + b Diag(M) + c Tr(M) I for E[g g^T] = M, else None."""
        return None

    def second_moment(self, moment: Array) -> Array:
        """E[C(g) C(g)^T], (d, d), for a random g with E[g g^T] = `moment`. Linear compressors only."""
        coefficients = self.moment_coefficients(len(moment))
        if coefficients is None:
            raise NotImplementedError
        a, b, c = coefficients
        return a * moment + np.diag(b * np.diag(moment) + c * np.trace(moment))

    def adjoint_second_moment(self, weights: Array) -> Array:
        """K, (d, d), with Tr(K M) = Tr(weights second_moment(M)) for every M; both symmetric. Linear compressors only.

        What has `moment_coefficients` is its own adjoint.
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
        """Var C(x)_j at fixed x, for x of shape (..., d). Uncorrelated compressors only."""
        raise NotImplementedError

    def sampled(self, x: Array, rng: np.random.Generator) -> Array:
        """A draw of C(x) for each row of x, (n, d); of the same law as what `decode` makes of `encode`, but for the
        rounding of floats. It serves theory where nothing closed is known, and may be left out.
        """
        raise NotImplementedError

    def covariance(self, x: Array) -> Array:
        """Cov(C(x)), (d, d), at a fixed x (d,)."""
        if self.uncorrelated:
            return np.diag(self.variances(x))
        outer = np.outer(x, x)
        return self.second_moment(outer) - outer

    def payload_bits(self, dimension: int) -> float:
        """Expected bits of a message before rounding to bytes."""
        raise NotImplementedError

    def payload_bytes_max(self, dimension: int) -> int:
        """Bytes of the longest message; the length of every message where `fixed_length`."""
        raise NotImplementedError

    def scratch_bytes(self, dimension: int) -> int:
        """Bytes of its kernel's arrays that grow with the dimension, at most."""
        return 4 * 8 * dimension

    def participants_max(self, clients: int) -> int:
        """The most clients that take part in a round; a run ends where more do."""
        return clients

    def kernel(self, dimension: int) -> NamedTuple:
        """The `Kernel` tuple of this compressor at dimension d."""
        raise NotImplementedError


C = TypeVar("C", bound=Compressor)

Mask = Annotated[Literal["own", "common"] | None, AfterValidator(lambda mask: None if mask == "own" else mask)]
"""Whether each client draws a mask of its own, or all the same. None for own, so that a log's identity does not depend
on it."""

UNSET: Any = None
"""The default of a parameter that `resolve` sets, from the alternative that was given."""

compressors: Registry[Compressor] = Registry("compressor", OPERATIONS)


def one_of(compressor: Compressor, parameter: str, alternative: str) -> None:
    """Refuse a compressor that gives both or neither of two parameters that mean the same."""
    present = [name for name in (parameter, alternative) if _value(compressor, name) is not None]
    if len(present) != 1:
        problem = "are both given" if present else "are both missing"
        raise ValueError(f"{parameter} and {alternative} {problem}; give exactly one of them")


def kept_coordinates(compressor: C, dimension: int) -> C:
    """The compressor with its number of kept coordinates h set: as given, or max(1, floor(d/(1 + omega)))."""
    one_of(compressor, "h", "omega")
    h, omega = _value(compressor, "h"), _value(compressor, "omega")
    if h is None:
        h = max(1, math.floor(dimension / (1 + omega) * (1 + 1e-12)))
    if h > dimension:
        raise ValueError(f"h = {h} is more than the dimension {dimension}; give 1 to {dimension}")
    return compressor.model_copy(update={"h": h, "omega": None})


def index_bits(dimension: int) -> int:
    """ceil(log2 d): the bits of one explicit coordinate index."""
    return (dimension - 1).bit_length()


def refuse_common_indices(compressor: Compressor) -> None:
    """A mask that all clients draw is known to all."""
    if compressor.common and _value(compressor, "indices") == "explicit":
        raise ValueError('mask = "common" comes from the shared seed; leave indices = "explicit" out')


def _value(compressor: Compressor, name: str) -> Any:
    return getattr(compressor, name)
