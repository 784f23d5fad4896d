"""A study file as plain tables: read from TOML, changed from the command line, and expanded into grids."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..text import nearest, plain, show

Table = dict[str, Any]

TABLES = ("study", "problem", "algorithm", "compressor", "downlink", "route", "log")
"""Names of the tables of a study file."""
LISTED = ("compressor", "downlink")
"""Names of the tables that may occur several times, each headed with two brackets."""
GRID_LIMIT = 10_000
"""Largest number of configurations of a study; a larger grid is refused as a mistake."""


def read_toml(path: Path, what: str = "study file") -> dict[str, Any]:
    """Return the tables of a TOML file, in the file's order. Raises InputError if it cannot be read or parsed."""
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise InputError(f"{path}: cannot read the {what} ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a {what}: it is not UTF-8 text; give a TOML file") from None
    except RecursionError:
        raise InputError(f"{path}: not valid TOML: lists are nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None


def plain_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a mapping with the types that TOML has: dict, list, str, int, float and bool."""
    return {str(name): _plain_value(value) for name, value in tables.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_tables(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # a number or an array of NumPy's
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain_value(entry) for entry in value]
    return value


def apply_variant(tables: dict[str, Any], name: str | None, file: str) -> None:
    """Remove the tables `[variant.NAME.TABLE]`, in place, and set the keys of the variant `name`.

    `[variant.NAME.compressor]` sets keys of every compressor; `[[variant.NAME.compressor]]` tables replace all
    compressors. The same holds for `downlink`. `-NAME` is appended to the name of the study.
    """
    variants = tables.pop("variant", {})
    if not isinstance(variants, dict) or not all(isinstance(variant, dict) for variant in variants.values()):
        raise InputError(f"{file}: variants must be tables, for example [variant.small.study] with rounds = 1000")
    if name is None:
        return
    if name not in variants:
        raise InputError(f"--variant {plain(name)}: {file} has no such variant{nearest(name, variants)}")
    for table, keys in variants[name].items():
        if table in LISTED and isinstance(keys, list):
            tables[table] = keys
            continue
        if table not in TABLES or not isinstance(keys, dict):
            raise InputError(
                f"{file}: [variant.{plain(name)}] {show(table)} is not a table of a study file{nearest(table, TABLES)}"
            )
        for key, value in keys.items():
            _set(tables, table, key, value, f"{file}: [variant.{plain(name)}.{table}]")
    study = tables.get("study")
    if isinstance(study, dict) and isinstance(study.get("name"), str) and "name" not in variants[name].get("study", {}):
        study["name"] += f"-{name}"


def apply_overrides(tables: dict[str, Any], overrides: Iterable[str]) -> None:
    """Set keys, in place, from texts such as `problem.dimension=50`; `compressor` means every compressor."""
    for text in overrides:
        place, equals, value = text.partition("=")
        name, dot, key = place.strip().partition(".")
        if not (equals and dot and key) or "." in key or name not in TABLES:
            raise InputError(f"--set {plain(text)}: write TABLE.KEY=VALUE, with TABLE one of {', '.join(TABLES)}")
        _set(tables, name, key, parse_value(value.strip()), f"--set {plain(text)}")


def _set(tables: dict[str, Any], name: str, key: str, value: Any, place: str) -> None:
    """Set a key of a table. Raises InputError if there is no such table; `place` is the source of the value."""
    target = tables.get(name, []) if name in LISTED else [tables.setdefault(name, {})]
    if target == []:
        raise InputError(f"{place}: the study has no [[{name}]] table in which to set this key; add one to the file")
    for table in target if isinstance(target, list) else []:
        if isinstance(table, dict):  # `check_tables` refuses anything else
            table[key] = value


def parse_value(text: str) -> Any:
    """Return the TOML value that `text` represents, or the text itself if it does not represent one."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if list(table) == ["value"] else text


def check_tables(tables: dict[str, Any], file: str) -> None:
    """Raise InputError for an unknown table, for a table of a wrong form, and for a value that no key accepts."""
    for name, table in tables.items():
        if name not in TABLES:
            raise InputError(
                f"{file}: {show(name)} at the top level is not a table of a study file{nearest(name, TABLES)}"
            )
        if name in LISTED:
            if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table):
                raise InputError(f"{file}: head each table {name} with two brackets: [[{name}]]")
        elif not isinstance(table, dict):
            raise InputError(f"{file}: {name} must be a single table, headed [{name}]")
        for entry in table if isinstance(table, list) else [table]:
            for key, value in entry.items():
                _check_value(f"{file}: [{name}] {key}", value)


def _check_value(place: str, value: Any) -> None:
    if isinstance(value, list):
        for element in value:
            _check_value(place, element)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{place} is {value}, but must be finite")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InputError(f"{place} is an integer of more than 64 bits; give a smaller one")
    elif isinstance(value, str) and not value.isprintable():
        raise InputError(f"{place} is {show(value)}, which contains unprintable characters; remove them")
    elif not isinstance(value, bool | int | float | str):
        raise InputError(f"{place} is {show(value)}, but must be text, a number, true or false, or a list")


def expand_grid(table: Table, lists: Collection[str], place: str) -> list[Table]:
    """Return the tables of a grid: each list of the table is an axis, except for the keys in `lists`.

    The tables are in the order of the lists; the last key varies fastest.
    """
    axes: list[Sequence[Any]] = []
    for key, value in table.items():
        grid = isinstance(value, list) and key not in lists
        if grid and not value:
            raise InputError(f"{place} {key} is an empty list; give at least one value")
        axes.append(value if grid else [value])
    check_grid_size((len(axis) for axis in axes), place)
    return [dict(zip(table, values, strict=True)) for values in product(*axes)]


def check_grid_size(lengths: Iterable[int], place: str) -> None:
    """Raise InputError if a grid has more than GRID_LIMIT points, before it is written out."""
    count = math.prod(lengths)
    if count > GRID_LIMIT:
        raise InputError(
            f"{place} the lists make a grid of {count:,} configurations; at most {GRID_LIMIT:,} are allowed"
        )
