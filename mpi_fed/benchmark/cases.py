"""Choose the cases to time: at each dimension, every compressor on every route that can carry its messages."""

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
"""The largest dimension."""
LARGEST_BY_DEFAULT = {"sketch": 1_000}
"""Largest default dimension by kind: a sketch draws h d numbers for a message and makes an h x h matrix."""
FEWEST, MOST, SHARE = 20, 1_000, 2_000_000
"""Timed rounds of a launch: SHARE / d, at least FEWEST and at most MOST."""
DOWNLINKS = (64,)
"""Default bits of a float of the iterate on the downlink."""
SAME = "same"
"""Value of --downlink that stands for the compressor of the uplink."""
SIZELESS = frozenset({"value_bits", "mask", "indices"})
"""Parameters that do not affect how much of a vector a compressor keeps."""
ROUNDS = 10**12
"""Rounds of each configuration, more than any bench runs. The step size is constant, so no result depends on them."""


def repetitions_at(dimension: int) -> int:
    """Return the default number of timed rounds of a launch."""
    return min(MOST, max(FEWEST, SHARE // dimension))


class Way(NamedTuple):
    """A route and the compressor of its downlink; None if the downlink sends w uncompressed, or sends nothing."""

    route: Route
    back: str | None


class Chosen(NamedTuple):
    """The configurations to time, and a sentence for each combination that was requested but is impossible."""

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
    """Return the configurations to time, with one client a rank; impossible combinations are left out.

    There is a separate case for each of `bits` (bits of a float of w on the downlink) and each of `backs` (compressors
    of the step's direction on the downlink); a route without a downlink occurs once. Raises InputError if no case is
    left.
    """
    for dimension in dimensions or ():
        if dimension > LARGEST:
            raise InputError(f"--dimension {dimension}: give a dimension from 1 to {LARGEST:,}")
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
        nothing = "none of these routes can carry any of these compressors at any dimension; choose others"
        raise InputError(next(iter(left_out), nothing))
    return Chosen(list(configurations.values()), list(left_out))


def _check_kinds(option: str, texts: Sequence[str]) -> None:
    for text in texts:
        validation.kind_of(compressors, {"kind": _words(option, text)[0]}, f"{option} {text}:")


def _ways(kinds: Sequence[str] | None, bits: Sequence[int], backs: Sequence[str]) -> Iterator[Way]:
    """Yield the requested routes, or all that need no parameters; each of them with every requested downlink."""
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
    """Yield the requested compressors, or all unbiased ones, resolved for the dimension, with names for messages."""
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
    """Yield the compressors of the downlink that `text` stands for; None if there is no `text`.

    Raises _Cannot if `text` is SAME and the uplink's compressor cannot be used on the downlink, and InputError if a
    compressor named in `text` cannot.
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
        for _, fitted in _fitted("--downlink", text, dimension):
            with input_errors(f"--downlink {text}:"):
                downlink = fitted.resolve(dimension)
                check_downlink(downlink, Sgd.model_validate({}), route)
            yield downlink


def _fitted(option: str, text: str, dimension: int) -> Iterator[tuple[str, Compressor]]:
    """Yield the compressors that `text` (a kind, or "quantization levels=127") stands for, not resolved yet."""
    kind, parameters = _words(option, text)
    for table in recipes(kind, dimension, parameters):
        added = [f"{key}={value}" for key, value in table.items() if key not in (*parameters, "omega")]
        place = f"{option} {text}: at dimension {dimension}"
        yield " ".join([text, *added]), validation.component(compressors, {"kind": kind, **table}, place)


def _words(option: str, text: str) -> tuple[str, dict[str, Any]]:
    """Return the kind and the parameters of a text such as "quantization levels=127"."""
    kind, *rest = text.split() or [text]
    parameters = {}
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f'{option} "{text}": {word} is not of the form KEY=VALUE; write levels=127, for example')
        parameters[key] = parse_value(value)
    return kind, parameters


def recipes(
    kind: str, dimension: int, parameters: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[dict[str, Any]]:
    """Yield the parameters, completed if they do not determine how much of a vector the compressor keeps.

    For a kind with the key omega, they are completed by omega = sqrt(d). For another kind, the given parameters are
    used; without any, the parameters of the kind's first example that fits the dimension.
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
    """An impossible case, described in one sentence; `is_back`: True if the downlink is the reason."""

    def __init__(self, sentence: str, is_back: bool = False) -> None:
        super().__init__(sentence)
        self.is_back = is_back


def _carrying(route: Route, name: str, compressor: Compressor, dimension: int, ranks: int) -> Route:
    """Return the route resolved for this compressor. Raises _Cannot if the route cannot carry the messages."""
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
            f"can count ({COUNT_LIMIT:,}); give a smaller dimension"
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
