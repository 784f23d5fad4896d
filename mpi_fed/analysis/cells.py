"""Text of a table's cells, from the numbers of an entry."""

from __future__ import annotations

from .document import DownlinkReductionFactor, Entry, Factors

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def number(value: float | None, digits: int = 3) -> str:
    """Return a number in few characters, or a dash for None."""
    return "-" if value is None else f"{value:.{digits}g}"


def size(*counts: float | None) -> str:
    """Return numbers of bytes, separated by slashes, in the unit (a power of 1,000) of the largest."""
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return "-"
    unit = sum(max(known) >= 999.5 * 1000**i for i in range(len(UNITS) - 1))
    return "/".join(f"{count / 1000**unit:.3g}" for count in known) + f" {UNITS[unit]}"


def scientific(value: float | None) -> str:
    """Return a risk with its power of ten, so that the numbers of a column are easy to compare."""
    return "-" if value is None else f"{value:.2e}"


def risk(entry: Entry) -> str:
    """Return mean ± standard error, the error in percent of the mean."""
    mean, error = entry.excess_risk_averaged.mean, entry.excess_risk_averaged.standard_error
    if error is None or not mean:
        return scientific(mean)
    percent = 100 * error / mean
    return f"{scientific(mean)} ±{percent:.{2 if percent >= 10 else 1}g}%"


def bias(entry: Entry) -> str:
    """Return the norm ratio of the bias and its z."""
    return f"{number(entry.bias.norm_ratio, 2)}, {number(entry.bias.z, 2)}"


def share_of_risk(entry: Entry, part: float | None, error: float | None) -> str:
    """Return a part of the risk, bias or variance, ± its standard error, both in percent of the risk."""
    whole = entry.excess_risk_averaged.mean
    if not whole or part is None or error is None:
        return "-"
    return f"{100 * part / whole:.0f} ±{number(100 * error / whole, 2)}"


def predicted(entry: Entry) -> str:
    """Return the predicted risk, with ~ in front if the prediction is approximate."""
    sign = "~" if entry.prediction_kind == "approximate" else ""
    value = entry.predicted_excess_risk_averaged
    return "-" if value is None else sign + scientific(value)


def slope(entry: Entry) -> str:
    """Return the slope ± half the width of its confidence interval."""
    fit = entry.slope
    if fit is None:
        return "-"
    half = "" if fit.low is None or fit.high is None else f" ±{(fit.high - fit.low) / 2:.2f}"
    return f"{fit.estimate:.2f}{half}"


def score(entry: Entry) -> str:
    """Return z = (mean - predicted) / standard error."""
    z = entry.z
    return "-" if z is None else f"{z:+.{'1f' if abs(z) < 1e4 else '0e'}}"


def probability(entry: Entry) -> str:
    """Return the p-value of the measured mean under the prediction."""
    p = entry.p_value
    if p is None:
        return "-"
    return f"{p:.2f}" if p >= 0.01 or p == 0 else f"{p:.0e}"


def uplink(entry: Entry) -> str:
    """Return the uplink's bytes as information / payload / transported."""
    counts = entry.uplink
    bits = counts.information_bits
    return size(None if bits is None else bits / 8, counts.payload_bytes, counts.transported_bytes)


def reduction(entry: Entry, factors: Factors) -> str:
    """Return the uplink's reduction factors: information / payload / transported, the last one ± its standard error."""
    relative = entry.reduction_factor_relative_error
    error = f" ±{100 * relative:.1g}%" if relative and factors.transported is not None else ""
    return "/".join(map(number, (factors.information, factors.payload, factors.transported))) + error


def downlink(factors: DownlinkReductionFactor) -> str:
    """Return the downlink's reduction factors of transported bytes, compared with float32 / float16."""
    return f"{number(factors.float32)}/{number(factors.float16)}"


def rounds(entry: Entry) -> str:
    """Return the rounds to the target and their interval."""
    if entry.rounds_to_target is None:
        return "-" if entry.excess_risk_averaged.mean is None else "not reached"
    interval = entry.rounds_to_target_interval
    count = f"{entry.rounds_to_target:,}"
    if interval is None or interval.low == interval.high:
        return count
    low, high = ("never" if end is None else f"{end:,}" for end in (interval.low, interval.high))
    return f"{count} ({low} to {high})"


def penalty(entry: Entry) -> str:
    """Return the penalty of heterogeneity ± its standard error, or "reference" for a homogeneous reference."""
    if entry.heterogeneity_reference:
        return "reference"
    value = entry.heterogeneity_penalty
    return "-" if value is None else plus_minus(value, entry.heterogeneity_penalty_error)


def plus_minus(value: float, error: float | None) -> str:
    """Return a number ± its standard error, if it has one."""
    return number(value) + (f" ±{error:.2g}" if error else "")
