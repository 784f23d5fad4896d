"""Registering a component checks its operations, and says in a sentence what is wrong with them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from mpi_fed.component import Component, Registry
from mpi_fed.engine.operation import by_name, operation
from mpi_fed.errors import InputError


@operation(required=True)
def give(kernel: Any, x: int) -> int:
    raise NotImplementedError


@operation
def double(kernel: Any, x: int) -> int:
    """Return twice what `give` gives."""
    return 2 * give(kernel, x)


class FirstKernel(NamedTuple):
    n: int


class SecondKernel(NamedTuple):
    n: int


@pytest.fixture
def registry():
    for each in (give, double):
        each.cases.clear()
    return Registry("toy", by_name(give, double))


def class_of(bases=(Component,), **body):
    return type("Own", bases, {"__module__": __name__, "kind": "own", **body})


def plus(kernel, x):
    return x + kernel.n


def test_a_kernels_type_chooses_the_code(registry) -> None:
    registry.register(class_of(Kernel=FirstKernel, give=staticmethod(plus)))
    assert give(FirstKernel(3), 4) == 7
    assert double(FirstKernel(3), 4) == 14


def test_operations_are_inherited(registry) -> None:
    base = class_of(give=staticmethod(plus), double=staticmethod(lambda kernel, x: 5))
    registry.register(class_of((base,), Kernel=SecondKernel, double=staticmethod(lambda kernel, x: 6)))
    assert give(SecondKernel(1), 1) == 2
    assert double(SecondKernel(1), 1) == 6


def test_a_subclass_may_share_its_bases_kernel(registry) -> None:
    base = registry.register(class_of(Kernel=FirstKernel, give=staticmethod(plus)))
    other = type("Other", (base,), {"__module__": __name__, "kind": "other"})
    registry.register(other)
    assert set(registry) == {"own", "other"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Kernel": FirstKernel}, "Own lacks give(kernel, x)"),
        (
            {"Kernel": FirstKernel, "giv": staticmethod(plus)},
            "Own.giv is no operation of a toy; did you mean give?",
        ),
        (
            {"Kernel": FirstKernel, "give": staticmethod(plus), "helper": staticmethod(lambda kernel: 1)},
            "Own.helper is no operation of a toy (it has give, double); put helpers of compiled code at the top",
        ),
        (
            {"Kernel": FirstKernel, "give": staticmethod(lambda kernel: 1)},
            "Own.give(kernel) must take the 2 arguments of give(kernel, x)",
        ),
        ({"Kernel": FirstKernel, "give": plus}, "Own.give must be a @staticmethod"),
        ({"give": staticmethod(plus)}, "Own defines give, but no Kernel"),
    ],
)
def test_what_is_wrong_is_a_sentence(registry, body, words):
    with pytest.raises(TypeError) as raised:
        registry.register(class_of(**body))
    assert words in str(raised.value)
    assert registry == {}
    assert not give.cases


def test_a_kernel_has_one_code(registry) -> None:
    registry.register(class_of(Kernel=FirstKernel, give=staticmethod(plus)))
    other = type(
        "Other",
        (Component,),
        {"__module__": __name__, "kind": "other", "Kernel": FirstKernel, "give": staticmethod(lambda kernel, x: 0)},
    )
    with pytest.raises(TypeError, match="Other shares FirstKernel with a class that has another give"):
        registry.register(other)


def test_a_kind_is_registered_once(registry) -> None:
    registry.register(class_of(Kernel=FirstKernel, give=staticmethod(plus)))
    with pytest.raises(ValueError, match="toy kind 'own' is registered twice"):
        registry.register(type("Other", (Component,), {"__module__": __name__, "kind": "own"}))


def test_a_component_without_operations_needs_no_kernel(registry) -> None:
    registry.register(class_of())
    assert registry["own"].Kernel is None


def test_a_kernel_of_another_class_is_refused() -> None:
    component = class_of(Kernel=FirstKernel, give=staticmethod(plus))()
    assert component.own_kernel(FirstKernel(1)) == FirstKernel(1)
    with pytest.raises(InputError, match="returns a SecondKernel, and the Kernel of Own is FirstKernel"):
        component.own_kernel(SecondKernel(1))
