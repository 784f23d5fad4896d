"""Base class and registry of compressors, problems, algorithms and routes."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from .errors import InputError

K = TypeVar("K", bound=tuple[Any, ...])


class Component(BaseModel):
    """A table of a study file, such as [problem]: a `kind`, and its parameters as annotated fields.

    Notes
    -----
    A subclass is a pydantic model: each annotated field is a key of the table, and pydantic checks its value. Unknown
    keys are refused. Instances are immutable.

    Examples
    --------
    >>> from mpi_fed.compressors.rand_h import RandH
    >>> RandH(h=3).table()
    {'kind': 'rand-h', 'value_bits': 32, 'h': 3, 'indices': 'shared'}
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    kind: ClassVar[str]
    """The name that selects the component in a study file."""
    Kernel: ClassVar[Any] = None
    """The NamedTuple of parameters and scratch space that the compiled operations take as their first argument. Its
    type chooses their code. None for a component without operations."""
    lists: ClassVar[frozenset[str]] = frozenset()
    """Keys whose value is a list, so that a list there is not a grid of values."""

    def own_kernel(self, kernel: K) -> K:
        """Check that a kernel has the type `Kernel`, which chooses the code, and return it.

        Parameters
        ----------
        kernel : NamedTuple
            The kernel that the component's method `kernel` has made.

        Returns
        -------
        NamedTuple
            The same kernel.

        Raises
        ------
        InputError
            If the kernel has another type.
        """
        if self.Kernel is not None and type(kernel) is not self.Kernel:
            name, wanted = type(self).__qualname__, self.Kernel.__qualname__
            raise InputError(
                f"{name}.kernel() returns a {type(kernel).__qualname__}, but the Kernel of {name} is {wanted}; "
                f"let kernel() return a {wanted}"
            )
        return kernel

    def table(self) -> dict[str, Any]:
        """Return the table of a study file that makes this component: its kind and every parameter that is set."""
        return {"kind": self.kind, **self.model_dump(exclude_none=True)}


C = TypeVar("C", bound=Component)


class Operation(Protocol):
    """A function of the compiled round whose code depends on the type of its kernel (`engine/operation.py`)."""

    declaration: Callable[..., Any]
    required: bool
    cases: dict[type, Callable[..., Any]]

    def implement(self, kernel_type: type) -> Callable[[Any], Any]: ...


class Registry(dict[str, type[C]], Generic[C]):
    """The component classes of one family, by kind. Decorate a class with `@registry.register` to add it.

    Parameters
    ----------
    family : str
        Name of the family, such as "compressor".
    operations : mapping of str to Operation
        The operations of the family in the compiled round, by name.

    Notes
    -----
    A static method with the name of an operation is compiled as the code of that operation for the class's `Kernel`. It
    is inherited like any other method.
    """

    def __init__(self, family: str, operations: Mapping[str, Operation]) -> None:
        super().__init__()
        self.family = family
        self.operations = operations

    def register(self, component: type[C]) -> type[C]:
        """Add a component class under its `kind`.

        Parameters
        ----------
        component : type
            The class to add.

        Returns
        -------
        type
            The same class, so that the method can be used as a decorator.

        Raises
        ------
        ValueError
            If another class has the same kind.
        TypeError
            If an operation is missing, misspelt or has another number of arguments. The message is one sentence.
        """
        registered = self.get(component.kind)
        if registered is not None and registered.__qualname__ != component.__qualname__:
            raise ValueError(
                f"{self.family} kind {component.kind!r} is registered twice; give one of the classes another kind"
            )
        code = self._checked_operations(component)
        for name, function in code.items():
            assert component.Kernel is not None
            self.operations[name].implement(component.Kernel)(function)
        self[component.kind] = component
        return component

    def _checked_operations(self, component: type[C]) -> dict[str, Callable[..., Any]]:
        """Return the component's operations by name, including inherited operations."""
        code = {}
        for name, function in _static_methods(component):
            if name in self.operations:
                self._check_signature(component, name, function)
                code[name] = function
            elif next(iter(inspect.signature(function).parameters), None) == "kernel":
                place = f"{component.__qualname__}.{name}"
                raise TypeError(f"{place} is not an operation of {self._family()}{self._hint(name)}")
        self._check_plain_methods(component)
        kernel = component.Kernel
        if kernel is None:
            if code:
                raise TypeError(
                    f"{component.__qualname__} defines {next(iter(code))}, but no Kernel, whose type chooses the code; "
                    f"give the class its own NamedTuple as Kernel"
                )
            return code
        for name, operation in self.operations.items():
            if operation.required and name not in code:
                raise TypeError(f"{component.__qualname__} must define {_signature(name, operation.declaration)}")
            other = operation.cases.get(kernel)
            if other is not None and other is not code.get(name):
                raise TypeError(
                    f"{component.__qualname__} shares {kernel.__qualname__} with a class whose {name} has other code; "
                    f"give {component.__qualname__} its own Kernel"
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
        return f" (which has {names}); move helpers of compiled code to the top of the file, under @kernel"


def _static_methods(component: type[Component]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the static methods of the class and its bases; for each name, the method that the class inherits."""
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
