"""The families of components, their registries, and `register`, which adds a component to its family."""

from __future__ import annotations

from typing import Any, TypeVar

from ..algorithms import Algorithm, algorithms
from ..component import Component, Registry
from ..compressors import Compressor, compressors
from ..problems import Problem, problems
from ..routes import Route, routes
from ..text import join

C = TypeVar("C", bound=Component)

REGISTRIES: dict[str, Registry[Any]] = {
    "problem": problems,
    "algorithm": algorithms,
    "compressor": compressors,
    "route": routes,
}
"""Registry of each family, by the name of its table in a study file."""
REGISTRY_OF_TABLE: dict[str, Registry[Any]] = {**REGISTRIES, "downlink": compressors}
"""Registry of each table that has a kind; the table `downlink` is optional."""
BASES: dict[type[Component], Registry[Any]] = {
    Problem: problems,
    Algorithm: algorithms,
    Compressor: compressors,
    Route: routes,
}
"""Registry of each family, by its base class."""


def register(component: type[C]) -> type[C]:
    """Add a component class to the family of its base class, so that studies can select it. Use it as a decorator.

    Parameters
    ----------
    component : type
        Subclass of `Compressor`, `Problem`, `Algorithm` or `Route`, with the class attribute `kind`.

    Returns
    -------
    type
        The same class.

    Raises
    ------
    TypeError
        If the class has none of these bases, or if one of its operations is missing, misspelt or has a wrong signature.
    ValueError
        If another class of the family has the same `kind`.

    Examples
    --------
    A compressor that does the same as `none`, under another name:

    >>> from mpi_fed import compressors, register
    >>> from mpi_fed.compressors.none import NoCompression
    >>> @register
    ... class Identity(NoCompression):
    ...     kind = "identity"
    >>> "identity" in compressors.compressors
    True

    Remove it again:

    >>> del compressors.compressors["identity"]
    """
    for base, registry in BASES.items():
        if issubclass(component, base):
            return registry.register(component)
    bases = join((base.__name__ for base in BASES), "or")
    raise TypeError(f"{component.__name__} belongs to no family of components; derive it from {bases}")
