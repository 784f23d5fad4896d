"""Rates and times as people write them, and back."""

from __future__ import annotations

import math
import re

from ...errors import InputError

RATES = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12}
TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)"


def parse_rate(text: str, place: str) -> float:
    """Bits a second of 100mbit. Raises InputError."""
    return _amount(text, RATES, f"{place}: {text} is no rate above 0, such as 100mbit")


def parse_seconds(text: str, place: str) -> float:
    """Seconds of 20ms. Raises InputError."""
    return _amount(text, TIMES, f"{place}: {text} is no time, such as 20ms", least=0.0)


def _amount(text: str, units: dict[str, float], wrong: str, least: float | None = None) -> float:
    match = re.fullmatch(NUMBER + r"\s*([a-z]+)", text)
    if match is None or match[2] not in units:
        raise InputError(wrong)
    value = float(match[1]) * units[match[2]]
    if value <= 0 and least is None:
        raise InputError(wrong)
    return value


def rate_text(bits: float) -> str:
    """100 Mbit/s."""
    if bits == math.inf:
        return "no limit"
    return _prefixed(bits, (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)), "bit/s")


def seconds_text(value: float) -> str:
    """12 ms; years and days where it takes that long."""
    for unit, size in (("years", 365.25 * 86400), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if value >= 2 * size:
            return f"{_three(value / size)} {unit}"
    return _prefixed(value, (("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9)), "s")


def _prefixed(value: float, units: tuple[tuple[str, float], ...], what: str) -> str:
    prefix, size = next(((p, s) for p, s in units if value >= 0.9995 * s), units[-1])
    return f"{_three(value / size)} {prefix}{what}"


def _three(value: float) -> str:
    """Three digits, without a power of ten up to a million."""
    if 1000 <= value < 1e6:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"
