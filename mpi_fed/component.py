"""What compressors, problems, algorithms and routes have in common: a kind, checked parameters, a registry."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from .errors import InputError

K = TypeVar("K", bound=tuple)


class Component(BaseModel):
    """One choice of a study file: a `kind` and its parameters, as annotated (and so checked) fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    kind: ClassVar[str]
    """The name that selects it in a study file."""
    Kernel: ClassVar[Any] = None
    """The NamedTuple of parameters and scratch space that this component's compiled operations get, which chooses them
    by its type. None for a component without operations of its own."""
    lists: ClassVar[frozenset[str]] = frozenset()
    """Keys whose value is a list by nature, so that a list there is no grid."""

    def own_kernel(self, kernel: K) -> K:
        """The kernel that this component has made, checked to be of the class's Kernel, which chooses the code.

        Raises InputError, one sentence, where it is another's.
        """
        if self.Kernel is not None and type(kernel) is not self.Kernel:
            name = type(self).__qualname__
            raise InputError(
                f"{name}.kernel() returns a {type(kernel).__qualname__}, and the Kernel of {name} is "
                f"{self.Kernel.__qualname__}; let kernel() return one"
            )
        return kernel

    def table(self) -> dict[str, Any]:
        """The study-file table that builds this component again: its kind and every parameter that is set."""
        return {"kind": self.kind, **self.model_dump(exclude_none=True)}


C = TypeVar("C", bound=Component)


class Operation(Protocol):
    """A function of the compiled round whose code depends on the type of a kernel (`engine/operation.py`)."""

    declaration: Callable[..., Any]
    required: bool
    cases: dict[type, Callable[..., Any]]

    def implement(self, kernel_type: type) -> Callable[[Any], Any]: ...


class Registry(dict[str, type[C]], Generic[C]):
    """The kinds of one family, by name. `@registry.register` on a class is all that adding one takes.

    A static method that bears the name of one of the family's operations serves the round; it is inherited as any
    other.
    """

    def __init__(self, family: str, operations: Mapping[str, Operation]) -> None:
        super().__init__()
        self.family = family
        self.operations = operations

    def register(self, component: type[C]) -> type[C]:
        """Add a component class under its `kind`.

        Raises ValueError for a kind that is taken, and TypeError, one sentence, for operations that are missing,
        misspelt or of another signature.
        """
        registered = self.get(component.kind)
        if registered is not None and registered.__qualname__ != component.__qualname__:
            raise ValueError(f"{self.family} kind {component.kind!r} is registered twice")
        code = self._checked_operations(component)
        for name, function in code.items():
            assert component.Kernel is not None
            self.operations[name].implement(component.Kernel)(function)
        self[component.kind] = component
        return component

    def _checked_operations(self, component: type[C]) -> dict[str, Callable[..., Any]]:
        """The component's own and inherited operations, by name."""
        code = {}
        for name, function in _static_methods(component):
            if name in self.operations:
                self._check_signature(component, name, function)
                code[name] = function
            elif next(iter(inspect.signature(function).parameters), None) == "kernel":
                place = f"{component.__qualname__}.{name}"
                raise TypeError(f"{place} is no operation of {self._family()}{self._hint(name)}")
        self._check_plain_methods(component)
        kernel = component.Kernel
        if kernel is None:
            if code:
                raise TypeError(
                    f"{component.__qualname__} defines {next(iter(code))}, but no Kernel, whose type chooses that "
                    f"code; give it a NamedTuple of its own"
                )
            return code
        for name, operation in self.operations.items():
            if operation.required and name not in code:
                raise TypeError(f"{component.__qualname__} lacks {_signature(name, operation.declaration)}")
            other = operation.cases.get(kernel)
            if other is not None and other is not code.get(name):
                raise TypeError(
                    f"{component.__qualname__} shares {kernel.__qualname__} with a class that has another {name}; "
                    f"give it a Kernel of its own"
                )
        return code

    def _check_signature(self, component: type[C], name: str, function: Callable[..., Any]) -> None:
        declaration = self.operations[name].declaration
        expected, actual = (len(inspect.signature(each).parameters) for each in (declaration, function))
        if actual != expected:
            signature = _signature(f"{component.__qualname__}.{name}", function)
            raise TypeError(f"{signature} must take the {expected} arguments of {_signature(name, declaration)}")

    def _check_plain_methods(self, component: type[C]) -> None:
        for name in self.operations:
            method = inspect.getattr_static(component, name, None)
            if method is not None and not isinstance(method, staticmethod):
                place = f"{component.__qualname__}.{name}"
                raise TypeError(f"{place} must be a @staticmethod, since compiled code calls it")

    def _family(self) -> str:
        return f"{'an' if self.family[0] in 'aeiou' else 'a'} {self.family}"

    def _hint(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.operations, n=1)
        if close:
            return f"; did you mean {close[0]}?"
        names = ", ".join(self.operations)
        return f" (it has {names}); put helpers of compiled code at the top of the file, under @kernel"


def _static_methods(component: type[Component]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Those of the class and of its bases, the nearest of each name."""
    seen: set[str] = set()
    for base in component.__mro__:
        if base is Component:
            return
        for name, value in vars(base).items():
            if isinstance(value, staticmethod) and name not in seen:
                seen.add(name)
                yield name, value.__func__


def _signature(name: str, function: Callable[..., Any]) -> str:
    return f"{name}({', '.join(inspect.signature(function).parameters)})"
