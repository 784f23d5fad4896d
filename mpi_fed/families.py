"""The four families of components, and one way into all their registries."""

from __future__ import annotations

from typing import TypeVar

from .algorithms import Algorithm, algorithms
from .component import Component, Registry
from .compressors import Compressor, compressors
from .problems import Problem, problems
from .routes import Route, routes
from .text import join

C = TypeVar("C", bound=Component)

FAMILIES: dict[type[Component], Registry] = {
    Algorithm: algorithms,
    Compressor: compressors,
    Problem: problems,
    Route: routes,
}
"""The registry of each family, by its base class."""


def register(component: type[C]) -> type[C]:
    """Add a component class to its family, which its base class names. A decorator, for plugins too."""
    for base, registry in FAMILIES.items():
        if issubclass(component, base):
            return registry.register(component)
    bases = join((base.__name__ for base in FAMILIES), "or")
    raise TypeError(f"{component.__name__} belongs to no family: derive it from {bases}")
