"""Parts of messages: quoted values, lists of words, counted nouns, the nearest known name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean NAME?` with the nearest known name; if none is near, `; known: ` and all names.

    Examples
    --------
    >>> nearest("rand-k", ["rand-h", "top-k", "none"])
    '; did you mean "rand-h"?'
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    all_names = join(map(show, names), "and") if names else "none"
    return f"; did you mean {show(close[0])}?" if close else f"; known: {all_names}"


def join(words: Iterable[str], conjunction: str) -> str:
    """Return a list of words as in `a, b or c`.

    Examples
    --------
    >>> join(["a", "b", "c"], "or")
    'a, b or c'
    """
    *head, last = words
    return f"{', '.join(head)} {conjunction} {last}" if head else last


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count(1024, "rank")
    '1,024 ranks'
    """
    return f"{number:,} {plural(noun, number)}"


def plural(noun: str, number: int) -> str:
    """Return the noun, with an s unless the number is 1."""
    return noun if number == 1 else f"{noun}s"


def show(value: Any) -> str:
    """Return a value as a short text on one line."""
    text = plain(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 80 else f"{text[:77]}..."


def plain(text: str) -> str:
    """Return the text with unprintable characters escaped, so that a message stays on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
