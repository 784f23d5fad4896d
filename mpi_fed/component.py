"""What compressors, problems, algorithms and routes have in common: a kind, checked parameters, a registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict


class Component(BaseModel):
    """One choice of a study file: a `kind` and its parameters, as annotated (and so checked) fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    kind: ClassVar[str]
    """The name that selects it in a study file."""
    Kernel: ClassVar[type]
    """The NamedTuple of parameters and scratch space that the compiled functions of this component get."""
    lists: ClassVar[frozenset[str]] = frozenset()
    """Keys whose value is a list by nature, so that a list there is no grid."""

    def table(self) -> dict[str, Any]:
        """The study-file table that builds this component again: its kind and every parameter that is set."""
        return {"kind": self.kind, **self.model_dump(exclude_none=True)}


C = TypeVar("C", bound=Component)


class Choice(Protocol):
    """Compiled code that is chosen by the type of a kernel tuple (`mpi_fed.engine.compilation.Operation`)."""

    def implement(self, kernel_type: type, function: Any) -> None: ...


class Registry(dict[str, type[C]], Generic[C]):
    """The kinds of one family, by name. `@registry.register` on a class is all that adding one takes.

    The static methods of the class that bear the name of one of the family's compiled operations serve the round.
    """

    def __init__(self, family: str, operations: Mapping[str, Choice]) -> None:
        super().__init__()
        self.family = family
        self.operations = operations

    def register(self, component: type[C]) -> type[C]:
        """Add a component class under its `kind`; a kind that is taken is refused."""
        known = self.get(component.kind)
        if known is not None and known.__qualname__ != component.__qualname__:
            raise ValueError(f"{self.family} kind {component.kind!r} is registered twice")
        self[component.kind] = component
        for name, operation in self.operations.items():
            if name in vars(component):
                operation.implement(component.Kernel, getattr(component, name))
        return component
