"""Read a saved document of `mpi-fed bench`, and check the fields that `mpi-fed compare` and `mpi-fed model` use.

Any other field may be missing or of another type, because other versions write other fields. It then has its default.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..errors import InputError
from . import VALID
from .document import Bench, Result

MOST = 10**15
"""Upper bound of all numbers in a file; a larger one is taken for a mistake."""
KINDS: dict[str, type[Any]] = {
    "route": str,
    "compressor": dict,
    "dimension": int,
    "ranks": int,
    "repetitions": int,
    "verdict": str,
}
"""The type of each key that every result has."""
LIMITS = {"dimension": (1, 10**8), "ranks": (1, 10**9), "repetitions": (0, MOST)}
"""The smallest and the largest value of a key."""
TIMES = ("microseconds", "launch_medians", "quantiles")
"""The keys that only a VALID result must have."""
FLOAT_BITS = (None, 64, 32, 16)
PERCENTILES = 101

ResultKey = tuple[str, str, int, int, float, str]

_types_of = functools.cache(get_type_hints)


def load_bench(file: str) -> Bench:
    """Return the document in a file of `mpi-fed bench --out`. Raises InputError if the file has no such document."""
    try:
        value = json.loads(Path(file).read_text(), parse_constant=_refuse, parse_float=_finite_float)
    except OSError as error:
        raise InputError(f"{file}: cannot read the file ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: not a bench result: it is not JSON; give a file of `mpi-fed bench --out`") from None
    try:
        return bench_of(value)
    except ValueError as error:
        raise InputError(f"{file}: not a bench result: {error}; give a file of `mpi-fed bench --out`") from None


def bench_of(value: Any) -> Bench:
    """Return the document that a JSON value represents. Raises ValueError, which says what is wrong."""
    for fault in _faults(value):
        raise ValueError(fault)
    results: dict[ResultKey, Result] = {}
    for number, entry in enumerate(value["results"], start=1):
        for fault in _result_faults(entry):
            raise ValueError(f"result {number} {fault}")
        result: Result = _read(Result, entry)
        if key_of(result) in results:
            raise ValueError(f"result {number} repeats an earlier one")
        results[key_of(result)] = result
    bench: Bench = _read(Bench, value | {"results": []})
    return replace(bench, results=list(results.values()))


class _Mismatch(Exception):
    """Raised for a value whose type differs from the type in the document's definition."""


def _read(kind: Any, value: Any) -> Any:
    """Return the value as the type `kind`: a dataclass, list, dict, union or plain type. Raises _Mismatch."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for each in arguments:
            with suppress(_Mismatch):
                return _read(each, value)
    elif is_dataclass(kind) and isinstance(value, dict):
        return _read_object(kind, value)
    elif origin is list and isinstance(value, list):
        return [_read(arguments[0], item) for item in value]
    elif origin is dict and isinstance(value, dict):
        return dict(_matching(dict.fromkeys(value, arguments[1]), value))
    elif kind is Any or type(value) is kind:  # not isinstance, so that true and false are not numbers
        return value
    raise _Mismatch


def _read_object(kind: Any, value: dict[str, Any]) -> Any:
    """Return an instance of the dataclass `kind`. Raises _Mismatch if a field without a default is missing."""
    values = dict(_matching(_types_of(kind), value))
    for field in fields(kind):
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise _Mismatch
    return kind(**values)


def _matching(types: dict[str, Any], value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the entries whose values have these types."""
    for name, kind in types.items():
        with suppress(_Mismatch):
            if name in value:
                yield name, _read(kind, value[name])


def key_of(result: Result) -> ResultKey:
    """Return the key of a result, by which two files are compared: route, compressors, dimension, ranks and bits."""
    up, down = (json.dumps(table, sort_keys=True) for table in (result.compressor, result.downlink))
    bits = result.downlink_bits or 64  # 64 also where w is not sent back, and in files without the key
    return result.route, up, result.dimension, result.ranks, bits, down


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite_float(text: str) -> float:
    """Return the number. Raises ValueError if it is too large for a float."""
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _faults(value: Any) -> Iterator[str]:
    """Yield the faults of the document, apart from faults of its results."""
    if not isinstance(value, dict):
        yield "it is not a JSON object"
        return
    for name, kind in (("machine", dict), ("results", list)):
        if not isinstance(value.get(name), kind):
            wanted = "an object" if kind is dict else "a list"
            yield f"the value of its key {name} is not {wanted}" if name in value else f"it lacks the key {name}"


def _result_faults(result: Any) -> Iterator[str]:
    """Yield the faults of a result; a result that is not VALID may lack times."""
    if not isinstance(result, dict):
        yield "is not a JSON object"
        return
    for key in KINDS:
        if key not in result:
            yield f"lacks the key {key}"
        elif not _is_possible(key, result[key]):
            yield _impossible(key)
    if not isinstance(result.get("downlink"), dict | None):
        yield _impossible("downlink")
    if result.get("downlink_bits") not in FLOAT_BITS:
        yield _impossible("downlink_bits")
    if result.get("verdict") == VALID:
        yield from (f"lacks the key {key}" for key in TIMES if key not in result)
        yield from (_impossible(key) for key in _wrong_times(result))


def _impossible(key: str) -> str:
    return f"has a value of the key {key} that no bench writes"


def _is_possible(key: str, value: Any) -> bool:
    if type(value) is not KINDS[key]:
        return False
    return key not in LIMITS or LIMITS[key][0] <= value <= LIMITS[key][1]


def _wrong_times(result: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of a VALID result whose values cannot be times."""
    if result["repetitions"] < 1:
        yield "repetitions"
    microseconds, medians, quantiles = (result[key] for key in TIMES)
    if not isinstance(microseconds, dict) or not _are_times([microseconds.get("median")]):
        yield "microseconds"
    if not _are_times(medians):
        yield "launch_medians"
    if not _are_times(quantiles) or len(quantiles) != PERCENTILES:
        yield "quantiles"


def _are_times(values: Any) -> bool:
    return isinstance(values, list) and len(values) > 0 and all(map(_is_time, values))


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < MOST
