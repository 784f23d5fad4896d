"""What a problem is: the clients' data, as a law for theory and evaluation, and as a compiled gradient."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from ..component import Component, Registry
from ..engine.operations.problem import OPERATIONS
from .population import Population


class Problem(Component):
    """Least squares over N clients: F(w) = mean_i E_i[(<x, w> - y)^2] / 2."""

    batch_size: Annotated[int, Field(ge=1)] | Literal["full"] = 1
    """Samples in a stochastic gradient, or "full" for the client's true gradient H_i (w - w*_i)."""

    def dimension_of(self) -> int:
        """The dimension d. Reads the data where there are any."""
        raise NotImplementedError

    def check(self, clients: int) -> None:
        """Raise ValueError, one sentence, where this problem cannot be set up for so many clients."""

    def facts(self) -> dict[str, Any]:
        """What the log should say of the data: their digest, what preprocessing did."""
        return {}

    def prepare(self, clients: int) -> Population:
        """The clients' laws. The same for every repetition and every compressor."""
        raise NotImplementedError

    def bytes_of(self, clients: int, hosted: int) -> int:
        """Bytes of what a rank holds of all clients' laws and of its own clients' data, as far as they are known."""
        return 0

    def kernel(self, population: Population, first: int, last: int) -> NamedTuple:
        """What the compiled gradient of clients first <= i < last needs, as a NamedTuple of this problem's own."""
        raise NotImplementedError


problems: Registry[Problem] = Registry("problem", OPERATIONS)
