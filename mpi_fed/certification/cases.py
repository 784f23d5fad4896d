"""The cases of certification: every registered compressor with its own examples, at several dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from ..compressors import Compressor, compressors
from ..errors import InputError
from ..study.labels import describe
from ..study.validation import component, model

DIMENSIONS = (1, 5, 64, 1_000_000)
"""Default dimensions: a single number; no multiple of the 8 flags of a byte; the largest one at which the covariance
matrix is compared; the size of a model."""
FEWEST_DRAWS = 100
"""Smallest number of draws, used at a million dimensions. Fewer draws cannot detect an error."""
FULL = 64
"""Largest dimension at which every coordinate and the covariance matrix are compared."""


@dataclass(frozen=True)
class Case:
    """A compressor with the parameters of one example, before it is resolved for a dimension."""

    compressor: Compressor
    dimensions: tuple[int, ...]

    @property
    def label(self) -> str:
        """Kind and parameters, as shown to the user."""
        return describe(self.compressor)


def draws_at(dimension: int, draws: int) -> int:
    """Return the number of messages that are drawn for each fixed x.

    It is `draws` up to 64 dimensions, and smaller above, where each message takes longer.
    """
    return max(FEWEST_DRAWS, draws * min(dimension, FULL) // dimension)


def cases(dimension: int | None, only: str | None = None) -> list[Case]:
    """Return all cases whose label contains `only`, at one dimension or at `DIMENSIONS`.

    Raises InputError if no label contains `only`, or if a compressor has no example for these dimensions.
    """
    wanted = DIMENSIONS if dimension is None else (dimension,)
    every = [case for kind in compressors for case in _of_kind(kind, wanted)]
    chosen = [case for case in every if (only or "") in case.label]
    if not chosen:
        labels = "; ".join(case.label for case in every)
        raise InputError(f"--only {only}: no compressor's label contains this; the labels are {labels}")
    return chosen


def case_of(table: dict[str, Any], dimension: int | None, draws: int) -> Case:
    """Return the case of the compressor with this table, at one dimension or at all of `DIMENSIONS` that it fits.

    Raises InputError if the table is wrong, the parameters fit no dimension, or the draws are too few.
    """
    if draws < FEWEST_DRAWS:
        raise InputError(f"draws is {draws}; give at least {FEWEST_DRAWS}, since fewer draws cannot detect an error")
    built = component(compressors, table, "compressor:")
    if dimension is not None:
        try:
            built.resolve(dimension)
        except ValueError as error:
            raise InputError(f"compressor: {error}") from None
        return Case(built, (dimension,))
    fitting = tuple(d for d in DIMENSIONS if serves(built, d))
    if not fitting:
        raise InputError(
            f"compressor: {describe(built)} fits none of the dimensions {DIMENSIONS}; give a dimension that it fits"
        )
    return Case(built, fitting)


def _of_kind(kind: str, wanted: tuple[int, ...]) -> list[Case]:
    place = f'compressor "{kind}", in the `examples` of its class:'
    built = [model(compressors[kind], table, f"{place} {table}") for table in _tables(kind)]
    fitted = [Case(compressor, tuple(d for d in wanted if serves(compressor, d))) for compressor in built]
    fitted = [case for case in fitted if case.dimensions]
    if not fitted:
        where = " or ".join(map(str, wanted))
        raise InputError(f'compressor "{kind}": none of its `examples` fits dimension {where}; add such an example')
    return fitted


def _tables(kind: str) -> Iterator[dict[str, Any]]:
    """Yield the examples, the first one also with every other `value_bits`."""
    field = compressors[kind].model_fields["value_bits"]
    for number, example in enumerate(compressors[kind].examples):
        yield example
        others = set(get_args(field.annotation)) - {example.get("value_bits", field.default)}
        for bits in sorted(others) if number == 0 else []:
            yield {**example, "value_bits": bits}


def serves(compressor: Compressor, dimension: int) -> bool:
    """Return whether the compressor's parameters fit the dimension."""
    try:
        compressor.resolve(dimension)
    except ValueError:
        return False
    return True
