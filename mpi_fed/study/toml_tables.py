"""A study file as plain tables: read from TOML, overridden from the command line, grids written out."""

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
"""The tables of a study file."""
LISTED = ("compressor", "downlink")
"""Those of which there may be several, each headed with two brackets."""
GRID_LIMIT = 10_000
"""The most configurations of a study: a larger grid is taken for a mistake."""


def read_toml(path: Path, what: str = "study file") -> dict[str, Any]:
    """The tables of a TOML file, in the file's order. Raises InputError where it cannot be read or parsed."""
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
    """Remove the tables `[variant.NAME.TABLE]`, in place, and set the keys of the variant asked for.

    `[variant.NAME.compressor]` sets keys of every compressor, `[[variant.NAME.compressor]]` stands in their place;
    `downlink` likewise. The study's name gets `-NAME` behind.
    """
    variants = tables.pop("variant", {})
    if not isinstance(variants, dict) or not all(isinstance(variant, dict) for variant in variants.values()):
        raise InputError(f"{file}: write variants as tables, [variant.small.study] with rounds = 1000, say")
    if name is None:
        return
    if name not in variants:
        raise InputError(f"--variant {plain(name)}: {file} has no such variant{nearest(name, variants)}")
    for table, keys in variants[name].items():
        if table in LISTED and isinstance(keys, list):
            tables[table] = keys
            continue
        if table not in TABLES or not isinstance(keys, dict):
            raise InputError(f"{file}: [variant.{plain(name)}] {show(table)} is no table{nearest(table, TABLES)}")
        for key, value in keys.items():
            _set(tables, table, key, value, f"{file}: [variant.{plain(name)}.{table}]")
    study = tables.get("study")
    if isinstance(study, dict) and isinstance(study.get("name"), str) and "name" not in variants[name].get("study", {}):
        study["name"] += f"-{name}"


def apply_overrides(tables: dict[str, Any], overrides: Iterable[str]) -> None:
    """Set keys, in place, from texts like `problem.dimension=50`; `compressor` means every compressor, and so on."""
    for text in overrides:
        place, equals, value = text.partition("=")
        name, dot, key = place.strip().partition(".")
        if not (equals and dot and key) or "." in key or name not in TABLES:
            raise InputError(f"--set {plain(text)}: write TABLE.KEY=VALUE, with TABLE one of {', '.join(TABLES)}")
        _set(tables, name, key, parse_value(value.strip()), f"--set {plain(text)}")


def _set(tables: dict[str, Any], name: str, key: str, value: Any, place: str) -> None:
    """Set a key of a table. Raises InputError where there is no such table; `place` says who sets it."""
    target = tables.get(name, []) if name in LISTED else [tables.setdefault(name, {})]
    if target == []:
        raise InputError(f"{place}: the study has no [[{name}]] that this could change; add one to the file")
    for table in target if isinstance(target, list) else []:
        if isinstance(table, dict):  # anything else is refused when its table is looked at
            table[key] = value


def parse_value(text: str) -> Any:
    """The TOML value that `text` spells, or else the text itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if list(table) == ["value"] else text


def check_tables(tables: dict[str, Any], file: str) -> None:
    """Refuse unknown tables, other things in their place, and values that no key takes."""
    for name, table in tables.items():
        if name not in TABLES:
            raise InputError(f"{file}: no table or key {show(name)} belongs at the top{nearest(name, TABLES)}")
        if name in LISTED:
            if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table):
                raise InputError(f"{file}: write [[{name}]], with two brackets, once for each compressor")
        elif not isinstance(table, dict):
            raise InputError(f"{file}: {name} must be one table, headed [{name}]")
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
        raise InputError(f"{place} is {show(value)}, which holds unprintable characters; remove them")
    elif not isinstance(value, bool | int | float | str):
        raise InputError(f"{place} is {show(value)}, but must be text, a number, true or false, or a list")


def expand_grid(table: Table, lists: Collection[str], place: str) -> list[Table]:
    """The tables that one table stands for: each list is an axis of a grid, except for the keys in `lists`.

    In the table's order, the last key fastest.
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
    """Refuse a grid of absurd size before it is written out."""
    count = math.prod(lengths)
    if count > GRID_LIMIT:
        raise InputError(f"{place} the lists make a grid of {count} configurations; keep to {GRID_LIMIT}")
