"""Types of the numbers that options take. Each function raises ArgumentTypeError if the text is not such a number."""

from __future__ import annotations

import argparse
import re


def positive(text: str) -> int:
    """Return an integer of at least 1."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1, below 10^9")
    return int(text)


def amount(text: str) -> float:
    """Return a number of at least 0."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0, such as 1.5")
    return float(text)


def factor(text: str) -> float:
    """Return a number of at least 1."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", text) or float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a factor of at least 1, such as 1.1")
    return float(text)


def seconds(text: str) -> float:
    """Return a number of seconds, at least 0."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, such as 60")
    return float(text)
