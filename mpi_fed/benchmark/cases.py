"""Choose what is timed: at each dimension every compressor, on every route that can carry it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..algorithms.sgd import Sgd
from ..certification.cases import serves
from ..compressors import Compressor, compressors
from ..engine.mpi_calls import COUNT_LIMIT
from ..errors import InputError
from ..routes import Route, routes
from ..study import validation
from ..study.configuration import Configuration, configuration_from_tables
from ..study.downlink_rules import check_downlink
from ..study.load import input_errors
from ..study.toml_tables import parse_value

DIMENSIONS = (100, 10_000, 1_000_000)
LARGEST = 10_000_000
"""The most dimensions."""
LARGEST_BY_DEFAULT = {"sketch": 1_000}
"""A sketch draws h d numbers a message, and makes a matrix of h^2."""
FEWEST, MOST, SHARE = 20, 1_000, 2_000_000
"""Timed rounds of a launch: SHARE / d of them, within these bounds."""
DOWNLINKS = (64,)
"""Bits of the floats in which the iterate comes back, where nothing is said."""
SAME = "same"
"""In the place of what compresses the way back: whatever compresses the way up."""
SIZELESS = frozenset({"value_bits", "mask", "indices"})
"""Parameters that do not say how much a compressor leaves."""
ROUNDS = 10**12
"""More than are ever done: nothing depends on them, for steps are constant."""


def repetitions_at(dimension: int) -> int:
    """Timed rounds of a launch where no number is asked for."""
    return min(MOST, max(FEWEST, SHARE // dimension))


class Way(NamedTuple):
    """A route, and what compresses the direction that comes back; None where w does, or nothing."""

    route: Route
    back: str | None


class Chosen(NamedTuple):
    """The configurations that are timed, and a sentence for each that was asked for by name and cannot be."""

    configurations: list[Configuration]
    left_out: list[str]


def cases(
    ranks: int,
    dimensions: Sequence[int] | None = None,
    kinds: Sequence[str] | None = None,
    route_kinds: Sequence[str] | None = None,
    bits: Sequence[int] | None = None,
    backs: Sequence[str] | None = None,
) -> Chosen:
    """The configurations, with one client a rank. What cannot work is left out.

    `bits` of a float of w on its way back, and `backs`, what compresses the step's direction in its place, each make a
    case of their own; a route on which nothing comes back is there once. Raises InputError where nothing is left.
    """
    for dimension in dimensions or ():
        if dimension > LARGEST:
            raise InputError(f"--dimension {dimension}: give 1 to {LARGEST:,}")
    ways = list(_ways(route_kinds, bits or (() if backs else DOWNLINKS), backs or ()))
    _check_kinds("--compressor", kinds or ())
    _check_kinds("--downlink", [text for text in backs or () if text != SAME])
    configurations: dict[str, Configuration] = {}
    left_out: dict[str, None] = {}
    for d in dimensions or DIMENSIONS:
        for name, compressor in _compressors(d, kinds):
            for way in ways:
                try:
                    route = _carrying(way.route, name, compressor, d, ranks)
                    downlinks = list(_downlinks(way.back, name, compressor, route, d))
                except _Cannot as error:
                    if kinds is not None and (route_kinds is not None or error.is_back):
                        left_out[str(error)] = None
                    continue
                for downlink in downlinks:
                    configuration = _configuration(compressor, route, downlink, d, ranks)
                    configurations.setdefault(configuration.id, configuration)
    if not configurations:
        nothing = "no route that was asked for carries any of the compressors at any dimension; ask for others"
        raise InputError(next(iter(left_out), nothing))
    return Chosen(list(configurations.values()), list(left_out))


def _check_kinds(option: str, texts: Sequence[str]) -> None:
    for text in texts:
        validation.kind_of(compressors, {"kind": _words(option, text)[0]}, f"{option} {text}:")


def _ways(kinds: Sequence[str] | None, bits: Sequence[int], backs: Sequence[str]) -> Iterator[Way]:
    """Routes asked for, or all that need no parameters, with each way back that they have."""
    for kind in kinds or routes:
        place = f"--route {kind}:"
        try:
            if validation.kind_of(routes, {"kind": kind}, place).reaches_all_ranks:
                yield Way(validation.component(routes, {"kind": kind}, place), None)
                continue
            for each in dict.fromkeys(bits):
                yield Way(validation.component(routes, {"kind": kind, "downlink_bits": each}, place), None)
            for text in dict.fromkeys(backs):
                yield Way(validation.component(routes, {"kind": kind}, place), text)
        except InputError:
            if kinds is not None:
                raise


def _compressors(dimension: int, kinds: Sequence[str] | None) -> Iterator[tuple[str, Compressor]]:
    """Those asked for, or all that are unbiased, fitted to the dimension, with names for messages."""
    for text in dict.fromkeys(kinds or compressors):
        kind = _words("--compressor", text)[0]
        if kinds is None and (compressors[kind].biased or dimension > LARGEST_BY_DEFAULT.get(kind, LARGEST)):
            continue
        for name, compressor in _fitted("--compressor", text, dimension):
            if kinds is not None or serves(compressor, dimension):
                with input_errors(f"--compressor {text}: at dimension {dimension}"):
                    yield name, compressor.resolve(dimension)


def _downlinks(
    text: str | None, name: str, compressor: Compressor, route: Route, dimension: int
) -> Iterator[Compressor | None]:
    """What compresses the direction on its way back; None where there is no `text`.

    Raises _Cannot where the same cannot do it, and InputError where what is named cannot.
    """
    if text is None:
        yield None
    elif text == SAME:
        try:
            check_downlink(compressor, Sgd.model_validate({}), route)
        except ValueError as error:
            raise _Cannot(f"--downlink {SAME} --compressor {name}: {error}", is_back=True) from None
        yield compressor
    else:
        for _, downlink in _fitted("--downlink", text, dimension):
            with input_errors(f"--downlink {text}:"):
                downlink = downlink.resolve(dimension)
                check_downlink(downlink, Sgd.model_validate({}), route)
            yield downlink


def _fitted(option: str, text: str, dimension: int) -> Iterator[tuple[str, Compressor]]:
    """The compressors that "quantization levels=127" or a kind stands for, not resolved yet."""
    kind, parameters = _words(option, text)
    for table in recipes(kind, dimension, parameters):
        added = [f"{key}={value}" for key, value in table.items() if key not in (*parameters, "omega")]
        place = f"{option} {text}: at dimension {dimension}"
        yield " ".join([text, *added]), validation.component(compressors, {"kind": kind, **table}, place)


def _words(option: str, text: str) -> tuple[str, dict[str, Any]]:
    """The kind and the parameters of "quantization levels=127"."""
    kind, *rest = text.split() or [text]
    parameters = {}
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f'{option} "{text}": {word} is no KEY=VALUE, such as levels=127')
        parameters[key] = parse_value(value)
    return kind, parameters


def recipes(
    kind: str, dimension: int, parameters: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[dict[str, Any]]:
    """The parameters; where they leave the size open omega = sqrt(d), or the first example that serves.

    A kind without the key omega has its size in its parameters, if there are any.
    """
    model = compressors[kind]
    if "omega" in model.model_fields and parameters.keys() <= SIZELESS:
        yield {**parameters, "omega": math.sqrt(dimension)}
        return
    if parameters:
        yield dict(parameters)
        return
    fitting = (table for table in model.examples if serves(validation.model(model, table, kind), dimension))
    yield (first := next(fitting, model.examples[0]))
    if kind == "none":
        yield {**first, "value_bits": 16}


class _Cannot(Exception):
    """A case that cannot be, in one sentence; `is_back`: for what should come back."""

    def __init__(self, sentence: str, is_back: bool = False) -> None:
        super().__init__(sentence)
        self.is_back = is_back


def _carrying(route: Route, name: str, compressor: Compressor, dimension: int, ranks: int) -> Route:
    """The route, resolved for this compressor. Raises _Cannot where it cannot carry it."""
    try:
        resolved = route.resolve(compressor)
        _check_count(resolved, compressor, dimension, ranks)
    except (ValueError, InputError) as error:
        raise _Cannot(f"--route {route.kind} --compressor {name}: {error}") from None
    return resolved


def _check_count(route: Route, compressor: Compressor, dimension: int, ranks: int) -> None:
    everything = route.payload_bytes(compressor, dimension, ranks) * route.received(compressor, ranks, ranks)
    if everything > COUNT_LIMIT:
        raise ValueError(
            f"the root would gather {everything:,} bytes a round at dimension {dimension}, more than an MPI call "
            f"counts ({COUNT_LIMIT:,}); give a smaller one"
        )


def _configuration(
    compressor: Compressor, route: Route, downlink: Compressor | None, dimension: int, ranks: int
) -> Configuration:
    tables = {
        "study": {"name": "bench", "rounds": ROUNDS, "clients": ranks},
        "problem": {"kind": "gaussian", "dimension": dimension, "rotation": "diagonal"},
        "algorithm": {"kind": "sgd"},
        "compressor": compressor.table(),
        "route": route.table(),
    }
    return configuration_from_tables(tables | ({"downlink": downlink.table()} if downlink is not None else {}))
