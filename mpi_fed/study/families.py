"""The families of components, their registries, and one way into all of them."""

from __future__ import annotations

from typing import TypeVar

from ..algorithms import Algorithm, algorithms
from ..component import Component, Registry
from ..compressors import Compressor, compressors
from ..problems import Problem, problems
from ..routes import Route, routes
from ..text import join

C = TypeVar("C", bound=Component)

REGISTRIES: dict[str, Registry] = {
    "problem": problems,
    "algorithm": algorithms,
    "compressor": compressors,
    "route": routes,
}
"""The registry of each family, by the name of its table in a study."""
REGISTRY_OF_TABLE: dict[str, Registry] = {**REGISTRIES, "downlink": compressors}
"""The registries of all tables that have a kind; the downlink's is optional."""
BASES: dict[type[Component], Registry] = {
    Problem: problems,
    Algorithm: algorithms,
    Compressor: compressors,
    Route: routes,
}
"""The registry of each family, by its base class."""


def register(component: type[C]) -> type[C]:
    """Add a component class to its family, which its base class names. A decorator, for plugins too."""
    for base, registry in BASES.items():
        if issubclass(component, base):
            return registry.register(component)
    bases = join((base.__name__ for base in BASES), "or")
    raise TypeError(f"{component.__name__} belongs to no family: derive it from {bases}")
