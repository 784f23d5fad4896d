"""Operations: functions of the compiled round whose code depends on the type of their first argument.

An operation is declared once, as a documented function under `@operation`. The body of this function is the default for
types without their own code. A call in the round is compiled into the code for the type of the first argument, a
NamedTuple (the `Kernel` of a component). So each configuration gets a loop that does not branch between components, and
the files of components need not import each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from .compilation import COMPILED, OPTIONS

if COMPILED:
    import numba.extending

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])


class Operation(Protocol[P, R_co]):
    """A function declared with `@operation`."""

    __name__: str
    declaration: Callable[..., Any]
    """The function as it was declared."""
    required: bool
    """True if every component must define the operation. If not, the body of the declaration is the default."""
    cases: dict[type, Callable[..., Any]]
    """The code for each type of kernel."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def implement(self, kernel_type: type) -> Callable[[F], F]:
        """Decorate the function that is compiled for first arguments of this type."""
        ...


@overload
def operation(declaration: Callable[P, R_co], /) -> Operation[P, R_co]: ...
@overload
def operation(*, required: bool) -> Callable[[Callable[P, R_co]], Operation[P, R_co]]: ...
def operation(declaration: Any = None, /, *, required: bool = False) -> Any:
    """Declare an operation. A `required` operation has no default, and its body is not used."""
    if declaration is None:
        return lambda function: _operation(function, required)
    return _operation(declaration, required)


def _operation(declaration: Callable[P, R_co], required: bool) -> Operation[P, R_co]:
    cases: dict[type, Callable[..., Any]] = {}
    default = None if required else declaration

    def call(first: Any, *rest: Any) -> Any:
        return cases.get(type(first), default)(first, *rest)  # type: ignore[misc]

    def implement(kernel_type: type) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            cases[kernel_type] = function
            return function

        return decorate

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(call, name, getattr(declaration, name))
    if COMPILED:
        # Inlined, since passing the arguments, tuples of many arrays, can take longer than the work of the function.
        @numba.extending.overload(  # type: ignore[untyped-decorator]
            call, jit_options={**OPTIONS, "forceinline": True}, strict=False
        )
        def choose(first: Any, *rest: Any) -> Callable[..., Any] | None:
            return cases.get(getattr(first, "instance_class", None), default)  # type: ignore[arg-type]

    result = cast(Any, call)
    result.declaration, result.required, result.cases, result.implement = declaration, required, cases, implement
    return cast(Operation[P, R_co], call)


def by_name(*operations: Operation[..., Any]) -> dict[str, Operation[..., Any]]:
    """Return the operations of a family by name, for its registry."""
    return {each.__name__: each for each in operations}
