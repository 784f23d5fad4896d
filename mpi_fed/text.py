"""Short texts for messages: quoting, lists of words, counted nouns, the nearest known name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the nearest known name, or else all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    all_names = join(map(show, names), "and") if names else "none"
    return f"; did you mean {show(close[0])}?" if close else f"; known: {all_names}"


def join(words: Iterable[str], conjunction: str) -> str:
    """`a, b or c`."""
    *head, last = words
    return f"{', '.join(head)} {conjunction} {last}" if head else last


def count(number: int, noun: str) -> str:
    """`1,024 ranks`: a number with its noun."""
    return f"{number:,} {plural(noun, number)}"


def plural(noun: str, number: int) -> str:
    """The noun, with an s unless the number is 1."""
    return noun if number == 1 else f"{noun}s"


def show(value: Any) -> str:
    """A value as a short text on one line."""
    text = plain(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 80 else f"{text[:77]}..."


def plain(text: str) -> str:
    """The text with what cannot be printed escaped, so that a message stays on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
