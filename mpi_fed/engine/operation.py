"""Operations: functions of the compiled round whose code depends on the type of their first argument.

An operation is declared once, as a documented function under `@operation`, whose body serves the types that have no
code of their own. A call of it in the round is compiled into the code that belongs to the argument's type, a NamedTuple
(a component's `Kernel`). So each configuration gets a loop without branches, from files that do not know each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from .compilation import COMPILED, OPTIONS

if COMPILED:
    import numba.extending

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])


class Operation(Protocol[P, R]):
    """What `@operation` makes of a function."""

    __name__: str
    declaration: Callable[..., Any]
    """The function as it was declared."""
    required: bool
    """Every component has to define it; else the declaration's body is the default."""
    cases: dict[type, Callable[..., Any]]
    """The code for each type of kernel."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def implement(self, kernel_type: type) -> Callable[[F], F]:
        """Decorate the function that serves first arguments of this type."""
        ...


@overload
def operation(declaration: Callable[P, R], /) -> Operation[P, R]: ...
@overload
def operation(*, required: bool) -> Callable[[Callable[P, R]], Operation[P, R]]: ...
def operation(declaration: Any = None, /, *, required: bool = False) -> Any:
    """Declare an operation. Where it is `required` there is no default, and the body stays empty."""
    if declaration is None:
        return lambda function: _operation(function, required)
    return _operation(declaration, required)


def _operation(declaration: Callable[P, R], required: bool) -> Operation[P, R]:
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
        # Inlined: its arguments are tuples of many arrays, and passing those costs more than many a call does.
        @numba.extending.overload(call, jit_options={**OPTIONS, "forceinline": True}, strict=False)
        def choose(first: Any, *rest: Any) -> Callable[..., Any] | None:
            return cases.get(getattr(first, "instance_class", None), default)  # type: ignore[arg-type]

    result = cast(Any, call)
    result.declaration, result.required, result.cases, result.implement = declaration, required, cases, implement
    return cast(Operation[P, R], call)


def by_name(*operations: Operation[..., Any]) -> dict[str, Operation[..., Any]]:
    """The operations of a family, for its registry."""
    return {each.__name__: each for each in operations}
