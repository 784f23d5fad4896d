"""Parse and print rates and times with units."""

from __future__ import annotations

import math
import re

from ...errors import InputError

RATES = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12}
TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)"


def parse_rate(text: str, place: str) -> float:
    """Return the bits a second of a text such as 100mbit. Raises InputError if it is not a rate above 0."""
    return _amount(text, RATES, f"{place}: {text} is not a rate above 0; write 100mbit, for example")


def parse_seconds(text: str, place: str) -> float:
    """Return the seconds of a text such as 20ms. Raises InputError if it is not a time."""
    return _amount(text, TIMES, f"{place}: {text} is not a time; write 20ms, for example", least=0.0)


def _amount(text: str, units: dict[str, float], wrong: str, least: float | None = None) -> float:
    match = re.fullmatch(NUMBER + r"\s*([a-z]+)", text)
    if match is None or match[2] not in units:
        raise InputError(wrong)
    value = float(match[1]) * units[match[2]]
    if value <= 0 and least is None:
        raise InputError(wrong)
    return value


def rate_text(bits: float) -> str:
    """Return a rate with its unit, such as 100 Mbit/s."""
    if bits == math.inf:
        return "no limit"
    return _prefixed(bits, (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)), "bit/s")


def seconds_text(value: float) -> str:
    """Return a time with its unit, such as 12 ms, 3 days or 2 years."""
    for unit, size in (("years", 365.25 * 86400), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if value >= 2 * size:
            return f"{_three(value / size)} {unit}"
    return _prefixed(value, (("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9)), "s")


def _prefixed(value: float, prefixes: tuple[tuple[str, float], ...], unit: str) -> str:
    prefix, size = next(((p, s) for p, s in prefixes if value >= 0.9995 * s), prefixes[-1])
    return f"{_three(value / size)} {prefix}{unit}"


def _three(value: float) -> str:
    """Return three digits, without a power of ten below a million."""
    if 1000 <= value < 1e6:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"
