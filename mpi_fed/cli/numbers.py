"""The numbers that options take. Each function raises ArgumentTypeError for a text that is not such a number."""

from __future__ import annotations

import argparse
import re


def positive(text: str) -> int:
    """An integer from 1."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no integer of at least 1")
    return int(text)


def amount(text: str) -> float:
    """A number from 0."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 0")
    return float(text)


def factor(text: str) -> float:
    """A number from 1."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", text) or float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no factor of at least 1, such as 1.1")
    return float(text)


def seconds(text: str) -> float:
    """A number of seconds, from 0."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, such as 60")
    return float(text)
