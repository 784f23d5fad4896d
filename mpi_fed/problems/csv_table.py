"""Tables of numbers in .csv files, separated by commas, semicolons or tabs, with or without a header."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

import numpy as np

from .datafile import check_rows, stream
from .population import Array

Target = str | int | None
"""Column of the target: its name, its index (from 0, negative from the end), or None for the last one."""


def read_csv(path: str, target: Target) -> tuple[Array, Array]:
    """Return the features (shape (n, d)) and the targets (shape (n,)) of a .csv file.

    Lines that are blank or begin with # are skipped. Raises ValueError, with one sentence, if the file is not a table
    of numbers.
    """
    with stream(path) as file:
        lines = filter(_is_row, _text(path, file))
        first = next(lines, "")
        separator = next((s for s in ",;\t" if s in first), ",")
        names = _header(path, first, separator)
        try:
            table = _table(lines if names else chain([first], lines), separator)
        except ValueError as error:
            fault = _fault(path, separator, bool(names)) or f"path = {path!r}: {error}"
            raise ValueError(fault) from None
    check_rows(path, len(table))
    column = _column(path, target, names, table.shape[1])
    return np.delete(table, column, axis=1), table[:, column].copy()


def _table(lines: Iterable[str], separator: str) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "input contained no data": check_rows has a better message
        return np.loadtxt(lines, delimiter=separator, quotechar='"', ndmin=2, dtype=np.float64)


def _text(path: str, file: BinaryIO) -> Iterator[str]:
    try:
        yield from io.TextIOWrapper(file, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"path = {path!r} is not UTF-8 text; save the .csv file in UTF-8") from None


def _is_row(line: str) -> bool:
    return bool(line.partition("#")[0].strip())


def _cells(path: str, line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line.partition("#")[0]], delimiter=separator), [])]
    except csv.Error as error:
        raise ValueError(f"path = {path!r} is not a .csv file of numbers ({error})") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _header(path: str, first: str, separator: str) -> list[str] | None:
    """Return the names in the first row, or None if it is a row of data."""
    cells = _cells(path, first, separator)
    text = [i for i, cell in enumerate(cells) if cell and not _is_number(cell)]
    if not text:
        return None
    if any(_is_number(cell) for cell in cells):
        raise ValueError(
            f"path = {path!r}: the first row mixes numbers with text ({cells[text[0]]!r} in column "
            f"{text[0] + 1}); a header must hold only names, a row of data only numbers"
        )
    if "" in cells:
        unnamed = cells.index("") + 1
        raise ValueError(f"path = {path!r}: column {unnamed} has no name in the header; name or remove it")
    return cells


def _fault(path: str, separator: str, header: bool) -> str | None:
    """Return a sentence about the first line that does not hold one number for each column, or None."""
    width = 0
    with stream(path) as file:
        for number, line in enumerate(_text(path, file), 1):
            if not _is_row(line):
                continue
            cells, names = _cells(path, line, separator), header and not width
            width = width or len(cells)
            if len(cells) != width:
                return f"path = {path!r}, line {number}: {len(cells)} columns, but the first row has {width}"
            fault = next((i for i, cell in enumerate(cells) if not (names or _is_number(cell))), None)
            if fault is not None:
                held = repr(cells[fault][:40]) if cells[fault] else "nothing"
                return f"path = {path!r}, line {number}, column {fault + 1}: found {held} instead of a number"
    return None


def _column(path: str, target: Target, names: list[str] | None, width: int) -> int:
    """Return the index of the target's column."""
    if names and len(names) != width:
        raise ValueError(
            f"path = {path!r}: the header names {len(names)} columns, but the rows have {width}; name each column once"
        )
    if isinstance(target, str):
        if not names:
            raise ValueError(f"target = {target!r}: {path!r} has no header; give the column's index, from 0")
        if names.count(target) != 1:
            shown = ", ".join(names[:20]) + ", ..." * (len(names) > 20)
            raise ValueError(
                f"target = {target!r} names {names.count(target)} columns of {path!r}, which has {shown}; give the "
                "name of one column, or an index from 0"
            )
        return names.index(target)
    index = -1 if target is None else target
    if not -width <= index < width:
        raise ValueError(f"target = {index} is not a column of {path!r}; give {-width} to {width - 1}")
    return index % width
