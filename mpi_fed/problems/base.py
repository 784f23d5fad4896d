"""Base class of problems: the law of each client's data, for predictions and evaluation, and the compiled gradient."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from ..component import Component, Registry
from ..engine.operations.problem import OPERATIONS
from .population import Population


class Problem(Component):
    """Least squares over N clients, each with its own data.

    This is the base class of all problems. A subclass gives the law, that is the distribution, of each client's data
    (`prepare`) and the compiled gradient (`mpi_fed/engine/operations/problem.py`).

    Parameters
    ----------
    batch_size : int or "full", default: 1
        Number of samples in a stochastic gradient, which each client draws in each round. "full" gives the client's
        true gradient, `H_i (w - w*_i)`.

    Notes
    -----
    The risk is the mean over clients of their expected squared error, in which all clients have the same weight:

        F(w) = (1/N) sum_i E_i[(<x, w> - y)^2] / 2.

    Examples
    --------
    >>> from mpi_fed.problems import problems
    >>> population = problems["gaussian"](dimension=3, eigenvalue_decay=0.0).prepare(clients=2)
    >>> population.dimension, population.trace
    (3, 3.0)
    """

    batch_size: Annotated[int, Field(ge=1)] | Literal["full"] = 1

    def dimension_of(self) -> int:
        """Return the dimension d. Problems on data read the data to find it."""
        raise NotImplementedError

    def check(self, clients: int) -> None:
        """Raise ValueError, with one sentence, if the problem cannot be set up for this number of clients."""

    def facts(self) -> dict[str, Any]:
        """Return the facts about the data that the log holds: their digest, and the changes by preprocessing."""
        return {}

    def prepare(self, clients: int) -> Population:
        """Return the laws of the clients' data, which all repetitions and compressors share.

        Parameters
        ----------
        clients : int
            N, the number of clients.

        Returns
        -------
        Population
            The N clients, all Gaussian or all empirical, with H, w* and the excess risk.

        Raises
        ------
        ValueError
            If the problem cannot be set up for this number of clients.
        """
        raise NotImplementedError

    def bytes_of(self, clients: int, hosted: int) -> int:
        """Return the memory, in bytes, of a rank for the laws of all clients and the data of its own, or 0 if unknown.

        `clients` is the number of all clients, and `hosted` the number of clients on the rank.
        """
        return 0

    def kernel(self, population: Population, first: int, last: int) -> NamedTuple:
        """Return the `Kernel` tuple: parameters and arrays for the compiled gradient of clients first <= i < last."""
        raise NotImplementedError


problems: Registry[Problem] = Registry("problem", OPERATIONS)
