"""An entry's numbers as the text of a table's cell."""

from __future__ import annotations

from .document import DownlinkReductionFactor, Entry, Factors

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def number(value: float | None, digits: int = 3) -> str:
    """A number in few characters, or a dash."""
    return "-" if value is None else f"{value:.{digits}g}"


def size(*counts: float | None) -> str:
    """Numbers of bytes, separated by slashes, in the unit (powers of 1,000) of the largest."""
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return "-"
    unit = sum(max(known) >= 999.5 * 1000**i for i in range(len(UNITS) - 1))
    return "/".join(f"{count / 1000**unit:.3g}" for count in known) + f" {UNITS[unit]}"


def scientific(value: float | None) -> str:
    """A risk: always with its power of ten, so that a column can be read down."""
    return "-" if value is None else f"{value:.2e}"


def risk(entry: Entry) -> str:
    """mean ± standard error, the error in percent of the mean."""
    mean, error = entry.excess_risk_averaged.mean, entry.excess_risk_averaged.standard_error
    if error is None or not mean:
        return scientific(mean)
    percent = 100 * error / mean
    return f"{scientific(mean)} ±{percent:.{2 if percent >= 10 else 1}g}%"


def bias(entry: Entry) -> str:
    """The norm ratio of the bias, and its z."""
    return f"{number(entry.bias.norm_ratio, 2)}, {number(entry.bias.z, 2)}"


def share_of_risk(entry: Entry, part: float | None, error: float | None) -> str:
    """A part of that risk, bias or variance, with its standard error, both in percent of the risk."""
    whole = entry.excess_risk_averaged.mean
    if not whole or part is None or error is None:
        return "-"
    return f"{100 * part / whole:.0f} ±{number(100 * error / whole, 2)}"


def predicted(entry: Entry) -> str:
    """The predicted risk, with ~ in front where theory is approximate."""
    sign = "~" if entry.prediction_kind == "approximate" else ""
    value = entry.predicted_excess_risk_averaged
    return "-" if value is None else sign + scientific(value)


def slope(entry: Entry) -> str:
    """estimate ± half width of the confidence interval."""
    fit = entry.slope
    if fit is None:
        return "-"
    half = "" if fit.low is None or fit.high is None else f" ±{(fit.high - fit.low) / 2:.2f}"
    return f"{fit.estimate:.2f}{half}"


def score(entry: Entry) -> str:
    """(mean - predicted) / standard error."""
    z = entry.z
    return "-" if z is None else f"{z:+.{'1f' if abs(z) < 1e4 else '0e'}}"


def probability(entry: Entry) -> str:
    """The p-value of measurement against theory."""
    p = entry.p_value
    if p is None:
        return "-"
    return f"{p:.2f}" if p >= 0.01 or p == 0 else f"{p:.0e}"


def uplink(entry: Entry) -> str:
    """information / payload / transported."""
    counts = entry.uplink
    bits = counts.information_bits
    return size(None if bits is None else bits / 8, counts.payload_bytes, counts.transported_bytes)


def reduction(entry: Entry, factors: Factors) -> str:
    """By what factor information, payload and transported bytes are below no compression, the last with its error."""
    relative = entry.reduction_factor_relative_error
    error = f" ±{100 * relative:.1g}%" if relative and factors.transported is not None else ""
    return "/".join(map(number, (factors.information, factors.payload, factors.transported))) + error


def downlink(factors: DownlinkReductionFactor) -> str:
    """The same of the way back, transported, against float32 and float16."""
    return f"{number(factors.float32)}/{number(factors.float16)}"


def rounds(entry: Entry) -> str:
    """Rounds to the target, and the interval of that."""
    if entry.rounds_to_target is None:
        return "-" if entry.excess_risk_averaged.mean is None else "not reached"
    interval = entry.rounds_to_target_interval
    count = f"{entry.rounds_to_target:,}"
    if interval is None or interval.low == interval.high:
        return count
    low, high = ("never" if end is None else f"{end:,}" for end in (interval.low, interval.high))
    return f"{count} ({low} to {high})"


def penalty(entry: Entry) -> str:
    """The penalty of heterogeneity ± its standard error, or that this is the reference of such penalties."""
    if entry.heterogeneity_reference:
        return "reference"
    value = entry.heterogeneity_penalty
    return "-" if value is None else plus_minus(value, entry.heterogeneity_penalty_error)


def plus_minus(value: float, error: float | None) -> str:
    """A number and its standard error, if there is one."""
    return number(value) + (f" ±{error:.2g}" if error else "")
