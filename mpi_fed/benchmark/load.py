"""Read a saved document of `mpi-fed bench`, and check it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from . import VALID
from .document import Bench, Number, Result

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST = 10**15
"""All numbers in a file are below this: a larger one is taken for a mistake."""
LIMITS = {"dimension": (1, 10**8), "ranks": (1, 10**9), "repetitions": (0, MOST)}
"""The least and the greatest value of a key."""
FLOAT_BITS = (None, 64, 32, 16)
PERCENTILES = 101

ResultKey = tuple[str, str, int, int, int, str]


def load_bench(file: str) -> Bench:
    """The document in a file of `mpi-fed bench --out`. Raises InputError where it is none."""
    try:
        text = Path(file).read_text()
        json.loads(text, parse_constant=_refuse, parse_float=_finite_float)
    except OSError as error:
        raise InputError(f"{file}: cannot read the file ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: no bench result: it is not JSON; `mpi-fed bench --out FILE` writes one") from None
    try:
        return parse_bench(text)
    except ValueError as error:
        raise InputError(f"{file}: no bench result: {error}; `mpi-fed bench --out FILE` writes one") from None


def parse_bench(text: str) -> Bench:
    """The document that a text spells. Raises ValueError, which says what is wrong."""
    from pydantic import TypeAdapter, ValidationError

    try:
        bench = TypeAdapter(Bench).validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(_first_fault(error)) from None
    for fault in _faults(bench):
        raise ValueError(fault)
    return bench


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


def _first_fault(error: ValidationError) -> str:
    """The first fault that the schema finds, in words."""
    first = error.errors(include_url=False)[0]
    missing = first["type"] == "missing"
    match first["loc"]:
        case ():
            return "it is no JSON object"
        case ("results", int(position)):
            return f"result {position + 1} is no JSON object"
        case ("results", int(position), key) if missing:
            return f"result {position + 1} lacks the key {key}"
        case ("results", int(position), key, *_):
            return f"result {position + 1} has no such {key} as a bench writes"
        case (key,) if missing:
            return f"it lacks the key {key}"
        case (key, *_):
            return f"its {key} is none"
    raise AssertionError(first["loc"])


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
