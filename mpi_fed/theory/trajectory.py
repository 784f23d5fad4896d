"""Expected risks at given rounds: the recursion runs from w_0, and its sums restart where the average starts."""

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
"""Largest estimated time, in seconds, for a frozen shape to be computed anew at growing intervals."""
INTERVALS = (2, 8)
"""Ratios of an interval's end to its start; the first one that is fast enough is used."""

Rounds = NDArray[np.int64]
Evolve = Callable[[Array, int, Rounds, bool], Array]
"""(state, its round, ascending rounds, True if all numbers of the states are needed) -> states (len(rounds), size)."""


@dataclass(frozen=True, eq=False)
class Risks:
    """Expected excess risks at given rounds, and the last core that is finite."""

    averaged: Array
    """Risks of the averaged iterate, of shape (rounds,)."""
    last: Array
    """Risks of the iterate, of shape (rounds,)."""
    core: Array
    """The last core without NaN or infinity, of shape (core_size,)."""


def expected_risks(recursion: Recursion, evolve: Evolve, core: Array, averaging_start: int, rounds: Rounds) -> Risks:
    """Return the risks at ascending rounds, from the core at round 0; the average holds w_k, k >= `averaging_start`."""
    early = rounds <= averaging_start
    before = evolve(recursion.state(core), 0, np.append(rounds[early], averaging_start), True)
    after = evolve(recursion.state(before[-1, : recursion.core_size]), averaging_start, rounds[~early], False)
    states = np.concatenate([before[:-1], after])
    with np.errstate(over="ignore", invalid="ignore"):
        averaged = recursion.mean_risk(states, np.maximum(rounds - averaging_start, 0).astype(np.float64))
        whole = states[np.isfinite(states).all(axis=1), : recursion.core_size]
        return Risks(averaged, recursion.last_risk(states), whole[-1] if len(whole) else core)


def exact_evolution(recursion: Recursion, steps: Steps) -> Evolve:
    """Return the evolution under a single recursion."""
    return lambda state, first, rounds, whole: propagate(recursion, state, steps, first, rounds, whole)


def frozen_evolution(model: RunModel, recursion: Recursion, steps: Steps, last: int) -> tuple[Evolve, str]:
    """Return an evolution with a frozen shape of the noise, and a text that says when the shape is computed.

    The shape is computed anew at growing intervals. If that takes too long, `recursion` is used for all rounds.
    """
    for factor in INTERVALS:
        cost = sum(propagation_seconds(recursion, steps, end - start) for start, end in _intervals(0, last, factor))
        if cost < REFREEZE_SECONDS:
            text = f"renewed at rounds that grow by a factor of {factor}"
            return _RenewedShapes(model, recursion, steps, factor), text
    return exact_evolution(recursion, steps), f"held at {reference_name(model)}"


@dataclass(frozen=True, eq=False)
class _RenewedShapes:
    """The evolution whose frozen shape is computed anew at rounds that grow by a factor of `factor`."""

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
    """Yield intervals that cover first .. last; the end of each is at most `factor` times its start, or start + 1."""
    while first < last:
        end = min(last, max(first + 1, first * factor))
        yield first, end
        first = end
