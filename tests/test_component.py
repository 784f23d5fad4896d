"""Registering a component checks its operations, and errors are one sentence."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from mpi_fed.component import Component, Registry
from mpi_fed.engine.operation import by_name, operation
from mpi_fed.errors import InputError

Toys = Registry[Component]


@operation(required=True)
def give(kernel: Any, x: int) -> int:
    raise NotImplementedError


@operation
def double(kernel: Any, x: int) -> int:
    """Return twice the result of `give`."""
    return 2 * give(kernel, x)


class FirstKernel(NamedTuple):
    n: int


class SecondKernel(NamedTuple):
    n: int


@pytest.fixture
def registry() -> Toys:
    for each in (give, double):
        each.cases.clear()
    return Registry("toy", by_name(give, double))


def class_of(bases: tuple[type[Component], ...] = (Component,), **body: Any) -> type[Component]:
    return type("Own", bases, {"__module__": __name__, "kind": "own", **body})


def plus(kernel: FirstKernel | SecondKernel, x: int) -> int:
    return x + kernel.n


def test_the_type_of_the_kernel_chooses_the_code(registry: Toys) -> None:
    registry.register(class_of(Kernel=FirstKernel, give=staticmethod(plus)))
    assert give(FirstKernel(3), 4) == 7
    assert double(FirstKernel(3), 4) == 14


def test_operations_are_inherited(registry: Toys) -> None:
    base = class_of(give=staticmethod(plus), double=staticmethod(lambda kernel, x: 5))
    registry.register(class_of((base,), Kernel=SecondKernel, double=staticmethod(lambda kernel, x: 6)))
    assert give(SecondKernel(1), 1) == 2
    assert double(SecondKernel(1), 1) == 6


def test_a_subclass_may_share_the_kernel_of_its_base(registry: Toys) -> None:
    base = registry.register(class_of(Kernel=FirstKernel, give=staticmethod(plus)))
    other = type("Other", (base,), {"__module__": __name__, "kind": "other"})
    registry.register(other)
    assert set(registry) == {"own", "other"}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"Kernel": FirstKernel}, "Own must define give(kernel, x)"),
        (
            {"Kernel": FirstKernel, "giv": staticmethod(plus)},
            "Own.giv is not an operation of a toy; did you mean give?",
        ),
        (
            {"Kernel": FirstKernel, "give": staticmethod(plus), "helper": staticmethod(lambda kernel: 1)},
            "Own.helper is not an operation of a toy (which has give, double); move helpers of compiled code",
        ),
        (
            {"Kernel": FirstKernel, "give": staticmethod(lambda kernel: 1)},
            "Own.give(kernel) must take the 2 arguments of give(kernel, x)",
        ),
        ({"Kernel": FirstKernel, "give": plus}, "Own.give must be a @staticmethod"),
        ({"give": staticmethod(plus)}, "Own defines give, but no Kernel"),
    ],
)
def test_a_wrong_operation_is_refused_in_one_sentence(registry: Toys, body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError) as raised:
        registry.register(class_of(**body))
    assert sentence in str(raised.value)
    assert registry == {}
    assert not give.cases


def test_two_classes_with_the_same_kernel_must_share_the_code(registry: Toys) -> None:
    registry.register(class_of(Kernel=FirstKernel, give=staticmethod(plus)))
    other = type(
        "Other",
        (Component,),
        {"__module__": __name__, "kind": "other", "Kernel": FirstKernel, "give": staticmethod(lambda kernel, x: 0)},
    )
    with pytest.raises(TypeError, match="Other shares FirstKernel with a class whose give has other code"):
        registry.register(other)


def test_a_kind_is_registered_once(registry: Toys) -> None:
    registry.register(class_of(Kernel=FirstKernel, give=staticmethod(plus)))
    with pytest.raises(ValueError, match="toy kind 'own' is registered twice"):
        registry.register(type("Other", (Component,), {"__module__": __name__, "kind": "own"}))


def test_a_component_without_operations_needs_no_kernel(registry: Toys) -> None:
    registry.register(class_of())
    assert registry["own"].Kernel is None


def test_a_kernel_of_another_class_is_refused() -> None:
    component = class_of(Kernel=FirstKernel, give=staticmethod(plus))()
    assert component.own_kernel(FirstKernel(1)) == FirstKernel(1)
    with pytest.raises(InputError, match="returns a SecondKernel, but the Kernel of Own is FirstKernel"):
        component.own_kernel(SecondKernel(1))
