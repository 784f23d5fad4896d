"""What is timed: at each dimension every compressor, on every route that can carry it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from .. import fields
from ..certification.cases import serves
from ..compressors import Compressor, compressors
from ..configuration import Configuration, configuration_from_tables
from ..errors import InputError
from ..mpi import COUNT_LIMIT
from ..routes import Route, routes
from ..study import placed
from ..tables import parsed

DIMENSIONS = (100, 10_000, 1_000_000)
LARGEST = 10_000_000
"""The most dimensions."""
LARGEST_BY_DEFAULT = {"sketch": 1_000}
"""A sketch draws h d numbers a message, and makes a matrix of h^2."""
FEWEST, MOST, SHARE = 20, 1_000, 2_000_000
"""Timed rounds of a launch: SHARE / d of them, within these bounds."""
DOWNLINKS = (64,)
"""Bits of the floats in which the iterate comes back, where nothing is said."""
ROUNDS = 10**12
"""More than are ever done: nothing depends on them, for steps are constant."""


def repetitions_at(dimension: int) -> int:
    """Timed rounds of a launch where no number is asked for."""
    return min(MOST, max(FEWEST, SHARE // dimension))


def cases(
    ranks: int,
    dimensions: Sequence[int] | None = None,
    kinds: Sequence[str] | None = None,
    route_kinds: Sequence[str] | None = None,
    downlinks: Sequence[int] | None = None,
) -> list[Configuration]:
    """The configurations, with one client a rank. What cannot work is left out, unless it was asked for by name.

    A route without a downlink is there once, whatever `downlinks`, the bits of a float on the way back, says.
    Raises InputError where it was, or where nothing is left."""
    for dimension in dimensions or ():
        if dimension > LARGEST:
            raise InputError(f"--dimension {dimension}: give 1 to {LARGEST:,}")
    ways = list(_routes(route_kinds, downlinks or DOWNLINKS))
    for text in kinds or ():
        fields.kind_of(compressors, {"kind": _words(text)[0]}, f"--compressor {text}:")
    found: dict[str, Configuration] = {}
    for d in dimensions or DIMENSIONS:
        for compressor, named in _compressors(d, kinds):
            for way in ways:
                explicit = named and route_kinds is not None
                try:
                    with placed(f"--route {way.kind} --compressor {compressor.kind}:"):
                        route = way.resolve(compressor)
                        _check_count(compressor, d, ranks)
                except InputError:
                    if explicit:
                        raise
                    continue
                configuration = _configuration(compressor, route, d, ranks)
                found.setdefault(configuration.id, configuration)
    if not found:
        raise InputError("no route that was asked for carries any of the compressors at any dimension; ask for others")
    return list(found.values())


def _routes(kinds: Sequence[str] | None, downlinks: Sequence[int]) -> Iterator[Route]:
    """Those asked for, or all that need no parameters, with each downlink that they have."""
    for kind in kinds or routes:
        try:
            model = fields.kind_of(routes, {"kind": kind}, f"--route {kind}:")
            for bits in dict.fromkeys([None] if model.everywhere else downlinks):
                yield fields.component(routes, {"kind": kind, "downlink_bits": bits}, f"--route {kind}:")
        except InputError:
            if kinds is not None:
                raise


def _compressors(dimension: int, kinds: Sequence[str] | None) -> Iterator[tuple[Compressor, bool]]:
    """Those asked for, or all that are unbiased, fitted to the dimension; and whether it was asked for by name, which a
    kind's second recipe is not."""
    for text in dict.fromkeys(kinds or compressors):
        kind, parameters = _words(text)
        if kinds is None and (compressors[kind].biased or dimension > LARGEST_BY_DEFAULT.get(kind, LARGEST)):
            continue
        for number, table in enumerate([parameters] if parameters else recipes(kind, dimension)):
            place = f"--compressor {text}: at dimension {dimension}"
            compressor = fields.component(compressors, {"kind": kind, **table}, place)
            if kinds is not None or serves(compressor, dimension):
                with placed(place):
                    yield compressor.resolve(dimension), kinds is not None and number == 0


def _words(text: str) -> tuple[str, dict[str, Any]]:
    """The kind and the parameters of "quantization levels=127"."""
    kind, *rest = text.split() or [text]
    parameters = {}
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f'--compressor "{text}": {word} is no KEY=VALUE, such as levels=127')
        parameters[key] = parsed(value)
    return kind, parameters


def recipes(kind: str, dimension: int) -> Iterator[dict[str, Any]]:
    """omega = sqrt(d) where the kind has this key, else the first of its examples that serves."""
    model = compressors[kind]
    if "omega" in model.model_fields:
        yield {"omega": math.sqrt(dimension)}
        return
    fitting = (table for table in model.examples if serves(fields.model(model, table, kind), dimension))
    yield (first := next(fitting, model.examples[0]))
    if kind == "none":
        yield {**first, "value_bits": 16}


def _check_count(compressor: Compressor, dimension: int, ranks: int) -> None:
    everything = compressor.payload_bytes_max(dimension) * ranks
    if everything > COUNT_LIMIT:
        raise ValueError(
            f"the root would gather {everything:,} bytes a round at dimension {dimension}, more than an MPI call "
            f"counts ({COUNT_LIMIT:,}); give a smaller one"
        )


def _configuration(compressor: Compressor, route: Route, dimension: int, ranks: int) -> Configuration:
    return configuration_from_tables(
        {
            "study": {"name": "bench", "rounds": ROUNDS, "clients": ranks},
            "problem": {"kind": "gaussian", "dimension": dimension, "rotation": "diagonal"},
            "algorithm": {"kind": "sgd"},
            "compressor": compressor.table(),
            "route": route.table(),
        }
    )
