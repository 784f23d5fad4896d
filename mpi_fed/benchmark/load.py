"""Read a saved document of `mpi-fed bench`, and check it."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..errors import InputError
from . import VALID
from .document import Bench, Number, Result

MOST = 10**15
"""All numbers in a file are below this: a larger one is taken for a mistake."""
LIMITS = {"dimension": (1, 10**8), "ranks": (1, 10**9), "repetitions": (0, MOST)}
"""The least and the greatest value of a key."""
FLOAT_BITS = (None, 64, 32, 16)
PERCENTILES = 101

ResultKey = tuple[str, str, int, int, int, str]
Place = tuple[str | int, ...]


_types_of = functools.cache(get_type_hints)


class Fault(Exception):
    """A value that the schema does not allow: its place, as keys and positions; or a key that is missing there."""

    def __init__(self, place: Place, missing: bool = False) -> None:
        super().__init__(place)
        self.place, self.missing = place, missing


def load_bench(file: str) -> Bench:
    """The document in a file of `mpi-fed bench --out`. Raises InputError where it is none."""
    try:
        value = json.loads(Path(file).read_text(), parse_constant=_refuse, parse_float=_finite_float)
    except OSError as error:
        raise InputError(f"{file}: cannot read the file ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: no bench result: it is not JSON; `mpi-fed bench --out FILE` writes one") from None
    try:
        return bench_of(value)
    except ValueError as error:
        raise InputError(f"{file}: no bench result: {error}; `mpi-fed bench --out FILE` writes one") from None


def bench_of(value: Any) -> Bench:
    """The document that a JSON value is. Raises ValueError, which says what is wrong."""
    try:
        bench: Bench = _read(Bench, value)
    except Fault as fault:
        raise ValueError(_in_words(fault)) from None
    for sentence in _faults(bench):
        raise ValueError(sentence)
    return bench


def _read(kind: Any, value: Any, place: Place = ()) -> Any:
    """The value as the type `kind`: a dataclass, a list, a dict, a union or a plain type. Raises Fault."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for each in arguments:
            with suppress(Fault):
                return _read(each, value, place)
    elif is_dataclass(kind) and isinstance(value, dict):
        return _read_object(kind, value, place)
    elif origin is list and isinstance(value, list):
        return [_read(arguments[0], item, (*place, position)) for position, item in enumerate(value)]
    elif origin is dict and isinstance(value, dict):
        return {key: _read(arguments[1], item, (*place, key)) for key, item in value.items()}
    elif kind is Any or type(value) is kind:  # so that true and false are no numbers
        return value
    raise Fault(place)


def _read_object(kind: Any, value: dict[str, Any], place: Place) -> Any:
    """An instance of the dataclass `kind`. Other keys than its fields are left out."""
    types, values = _types_of(kind), {}
    for field in fields(kind):
        if field.name in value:
            values[field.name] = _read(types[field.name], value[field.name], (*place, field.name))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise Fault((*place, field.name), missing=True)
    return kind(**values)


def _in_words(fault: Fault) -> str:
    match fault.place:
        case ():
            return "it is no JSON object"
        case ("results", int(position)):
            return f"result {position + 1} is no JSON object"
        case ("results", int(position), key) if fault.missing:
            return f"result {position + 1} lacks the key {key}"
        case ("results", int(position), key, *_):
            return f"result {position + 1} has no such {key} as a bench writes"
        case (key,) if fault.missing:
            return f"it lacks the key {key}"
    return f"its {fault.place[0]} is none"


def key_of(result: Result) -> ResultKey:
    """What two files compare by: the route, the compressors, the dimension and the ranks."""
    up, down = (json.dumps(table, sort_keys=True) for table in (result.compressor, result.downlink))
    bits = result.downlink_bits or 64  # also where w does not come back, and in files without the key
    return result.route, up, result.dimension, result.ranks, bits, down


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite_float(text: str) -> float:
    """Raises ValueError where a float does not hold the number."""
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _faults(bench: Bench) -> Iterator[str]:
    """Numbers out of range, and results that are there twice."""
    keys = set()
    for number, result in enumerate(bench.results, start=1):
        yield from (f"result {number} has no such {key} as a bench writes" for key in _wrong_keys(result))
        if key_of(result) in keys:
            yield f"result {number} is there twice"
        keys.add(key_of(result))


def _wrong_keys(result: Result) -> Iterator[str]:
    """The keys of numbers out of range; a result that is not VALID may lack times."""
    for key, (least, most) in LIMITS.items():
        if not least <= getattr(result, key) <= most:
            yield key
    if result.downlink_bits not in FLOAT_BITS:
        yield "downlink_bits"
    if result.verdict != VALID:
        return
    if result.repetitions < 1:
        yield "repetitions"
    if result.microseconds is None or not _are_times([result.microseconds.median]):
        yield "microseconds"
    if not result.launch_medians or not _are_times(result.launch_medians):
        yield "launch_medians"
    if len(result.quantiles) != PERCENTILES or not _are_times(result.quantiles):
        yield "quantiles"


def _are_times(values: Sequence[Number]) -> bool:
    return all(0 < value < MOST for value in values)
