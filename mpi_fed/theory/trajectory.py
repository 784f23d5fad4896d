"""Expected risks at given rounds: the recursion run from w_0, its sums restarted where the average starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..algorithms import Steps
from .moments.symmetric_packing import Array
from .recursions.base import Recursion
from .recursions.choose import frozen_recursion, reference_name
from .recursions.propagate import propagate, propagation_seconds
from .run_model import RunModel

REFREEZE_SECONDS = 60.0
"""A frozen shape is renewed at growing intervals where that takes less than this, about."""
INTERVALS = (2, 8)
"""By what factor the interval's end may exceed its start."""

Rounds = NDArray[np.int64]
Evolve = Callable[[Array, int, Rounds, bool], Array]
"""(state, its round, rounds, ascending, whether states must be whole) -> the states (len(rounds), size)."""


@dataclass(frozen=True, eq=False)
class Risks:
    """Expected excess risks at the rounds, and the last core that is whole."""

    averaged: Array
    """Of the averaged iterate."""
    last: Array
    """Of the iterate itself."""
    core: Array


def expected_risks(recursion: Recursion, evolve: Evolve, core: Array, averaging_start: int, rounds: Rounds) -> Risks:
    """From U's `core` at round 0 to ascending rounds; the average holds w_k from k = `averaging_start` on."""
    early = rounds <= averaging_start
    before = evolve(recursion.state(core), 0, np.append(rounds[early], averaging_start), True)
    after = evolve(recursion.state(before[-1, : recursion.core_size]), averaging_start, rounds[~early], False)
    states = np.concatenate([before[:-1], after])
    with np.errstate(over="ignore", invalid="ignore"):
        averaged = recursion.mean_risk(states, np.maximum(rounds - averaging_start, 0).astype(np.float64))
        whole = states[np.isfinite(states).all(axis=1), : recursion.core_size]
        return Risks(averaged, recursion.last_risk(states), whole[-1] if len(whole) else core)


def exact_evolution(recursion: Recursion, steps: Steps) -> Evolve:
    """The evolution under one recursion."""
    return lambda state, first, rounds, whole: propagate(recursion, state, steps, first, rounds, whole)


def frozen_evolution(model: RunModel, recursion: Recursion, steps: Steps, last: int) -> tuple[Evolve, str]:
    """The evolution under shapes frozen anew along the way; under `recursion` alone where that takes too long.

    The second value says in words which of the two it is.
    """
    for factor in INTERVALS:
        cost = sum(propagation_seconds(recursion, steps, end - start) for start, end in _intervals(0, last, factor))
        if cost < REFREEZE_SECONDS:
            return _RenewedShapes(model, recursion, steps, factor), f"renewed at rounds {factor} times apart"
    return exact_evolution(recursion, steps), f"held at {reference_name(model)}"


@dataclass(frozen=True, eq=False)
class _RenewedShapes:
    """The evolution under shapes that are frozen anew at rounds `factor` times apart."""

    model: RunModel
    recursion: Recursion
    steps: Steps
    factor: int

    def __call__(self, state: Array, first: int, rounds: Rounds, whole: bool) -> Array:
        pieces = [np.repeat(state[None], int((rounds == first).sum()), axis=0)]
        for start, end in _intervals(first, int(rounds.max(initial=first)), self.factor):
            frozen = frozen_recursion(self.model, state[: self.recursion.core_size])
            inside = rounds[(rounds > start) & (rounds <= end)]
            states = propagate(frozen, state, self.steps, start, np.append(inside, end))
            pieces.append(states[:-1])
            state = states[-1]
        return np.concatenate(pieces)


def _intervals(first: int, last: int, factor: int) -> Iterator[tuple[int, int]]:
    """first .. last in intervals whose end is at most `factor` times their start."""
    while first < last:
        end = min(last, max(first + 1, first * factor))
        yield first, end
        first = end
