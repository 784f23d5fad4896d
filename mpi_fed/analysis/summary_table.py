"""The summary as a table for a terminal or a text file: one row a configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

from ..launch import environment
from ..terminal.width import NARROW, TERMINAL_WIDTH
from .heterogeneity import BETTER, UNDECIDED, WORSE
from .validity import MISMATCH_LEVEL

Entry = dict[str, Any]

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
FILE_WIDTH = 280
"""Characters that a line of a text file may have: enough for all columns side by side."""


class Column(NamedTuple):
    """A heading and the cell below it, of a configuration's entry."""

    heading: str
    cell: Callable[[Entry], str]


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
    mean, error = entry["excess_risk_averaged"]["mean"], entry["excess_risk_averaged"]["standard_error"]
    if error is None or not mean:
        return scientific(mean)
    percent = 100 * error / mean
    return f"{scientific(mean)} ±{percent:.{2 if percent >= 10 else 1}g}%"


def part(name: str) -> Callable[[Entry], str]:
    """A part of that risk, bias or variance, with its standard error, both in percent of the risk."""

    def cell(entry: Entry) -> str:
        whole, parts = entry["excess_risk_averaged"]["mean"], entry["decomposition"]
        if not whole or parts[name] is None:
            return "-"
        value, error = (100 * parts[key] / whole for key in (name, f"{name}_error"))
        return f"{value:.0f} ±{number(error, 2)}"

    return cell


def predicted(entry: Entry) -> str:
    """The predicted risk, with ~ in front where theory is approximate."""
    sign = "~" if entry["prediction_kind"] == "approximate" else ""
    value = entry["predicted_excess_risk_averaged"]
    return "-" if value is None else sign + scientific(value)


def slope(entry: Entry) -> str:
    """estimate ± half width of the confidence interval."""
    fit = entry["slope"]
    if fit is None:
        return "-"
    half = "" if fit["low"] is None else f" ±{(fit['high'] - fit['low']) / 2:.2f}"
    return f"{fit['estimate']:.2f}{half}"


def score(entry: Entry) -> str:
    """(mean - predicted) / standard error."""
    z = entry["z"]
    return "-" if z is None else f"{z:+.{'1f' if abs(z) < 1e4 else '0e'}}"


def probability(entry: Entry) -> str:
    """The p-value of measurement against theory."""
    p = entry["p_value"]
    if p is None:
        return "-"
    return f"{p:.2f}" if p >= 0.01 or p == 0 else f"{p:.0e}"


def uplink(entry: Entry) -> str:
    """information / payload / transported."""
    counts = entry["uplink"]
    bits = counts["information_bits"]
    return size(None if bits is None else bits / 8, counts["payload_bytes"], counts["transported_bytes"])


def reduction(baseline: str) -> Callable[[Entry], str]:
    """By what factor information, payload and transported bytes are below no compression, the last with its error."""

    def cell(entry: Entry) -> str:
        factors, relative = entry["reduction_factor"][baseline], entry["reduction_factor_relative_error"]
        error = f" ±{100 * relative:.1g}%" if relative and factors["transported"] is not None else ""
        return "/".join(number(factors[name]) for name in ("information", "payload", "transported")) + error

    return cell


def downlink(entry: Entry) -> str:
    """The same of the way back, transported, against float32 and float16."""
    return "/".join(number(entry["downlink_reduction_factor"][baseline]) for baseline in ("float32", "float16"))


def rounds(entry: Entry) -> str:
    """Rounds to the target, and the interval of that."""
    if entry["rounds_to_target"] is None:
        return "-" if entry["excess_risk_averaged"]["mean"] is None else "not reached"
    interval = entry["rounds_to_target_interval"]
    told = f"{entry['rounds_to_target']:,}"
    if interval is None or interval["low"] == interval["high"]:
        return told
    low, high = ("never" if interval[end] is None else f"{interval[end]:,}" for end in ("low", "high"))
    return f"{told} ({low} to {high})"


NAME = Column("configuration", lambda entry: entry["label"])
RATES = (
    Column("final\nexcess risk", risk),
    Column("theory", predicted),
    Column("z", score),
    Column("p", probability),
    Column("slope\n±95%", slope),
    Column("verdict", lambda entry: entry["verdict"]),
)
SPREAD = (
    Column("bias:\nnorm, z", lambda entry: ", ".join(number(entry["bias"][name], 2) for name in ("norm_ratio", "z"))),
    Column("by bias,\n%", part("bias")),
    Column("by var.,\n%", part("variance")),
    Column("mean over\ntheory", lambda entry: number(entry["variance_ratio"])),
    Column("shifted over\nalike", lambda entry: penalty(entry)),
)
COSTS = (
    Column("information/\npayload/\ntransported", uplink),
    Column("float32\nover these", reduction("float32")),
    Column("float16\nover these", reduction("float16")),
    Column("f32/f16 over\ndownlink", downlink),
)
TARGET = (
    Column("rounds to target\n(95% interval)", rounds),
    Column("bytes to\ntarget", lambda entry: size(entry["bytes_to_target"])),
    Column("seconds\nto target", lambda entry: number(entry["seconds_to_target"])),
)
GROUPS = (RATES, SPREAD, COSTS, TARGET)
"""The columns that stand side by side where there is no room for all."""


def print_table(summary: dict[str, Any], file: IO[str] | None = None) -> None:
    """Print the table on standard output, or as plain text into a file.

    Where the terminal is too narrow for all columns it comes as a table for each of GROUPS.
    """
    from rich.text import Text

    console = _console(file)
    entries = summary["configurations"]
    whole = _table(entries, sum(GROUPS, ()))
    fits = console.measure(whole, options=console.options.update(width=FILE_WIDTH)).maximum <= console.width
    for table in [whole] if fits else [_table(entries, columns) for columns in GROUPS]:
        console.print(table)
    for line in [*_remarks(summary), *decisions(summary), *answer(summary)]:
        console.print(Text(line))


def _console(file: IO[str] | None) -> Console:
    from rich.console import Console

    options: dict[str, Any] = {"highlight": False, "emoji": False}
    if file is not None:
        return Console(file=file, width=FILE_WIDTH, **options)
    if environment.launched_size(os.environ) is None:
        return Console(**options)
    # A launcher may put a pseudo-terminal between a rank and a file: what it shows is no reason for colours.
    width = int(os.environ.get(TERMINAL_WIDTH, NARROW))
    return Console(width=width, force_terminal=False, **options)


def _table(entries: list[Entry], columns: tuple[Column, ...]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column(NAME.heading, overflow="fold", min_width=12)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for entry in entries:
        style = "" if entry["verdict"] == "VALID" else "red"
        table.add_row(*(Text(column.cell(entry), style=style) for column in (NAME, *columns)))
    return table


def decisions(summary: dict[str, Any]) -> list[str]:
    """What to take, a paragraph a problem; nothing where there is no choice."""
    lines = []
    for decision in summary.get("decisions", []):
        where = f" for {decision['problem']}" if decision["problem"] else ""
        lines += ["", _head(decision, where)]
        lines += [f"  {reason}" for reason in decision["reasons"]]
        doubts = f": {'; '.join(decision['doubts'])}" if decision["doubts"] else ""
        lines.append(f"  comparison {decision['verdict']}{doubts}")
        if decision["target_not_reached"]:
            lines.append(f"  target not reached: {'; '.join(decision['target_not_reached'])}")
        if decision["invalid"]:
            lines.append(f"  left out as INVALID: {'; '.join(decision['invalid'])}")
        for key, unit in (("equal_omega", "omega"), ("equal_bits", "bits a message")):
            for group in decision[key]:
                ranking = " < ".join(_ranked(member) for member in group["ranking"])
                lines.append(f"  final risk at about {group['value']:.3g} {unit}: {ranking}")
        for one in decision["heterogeneity"]:
            own = _plus_minus(one["penalty"], one["error"])
            its = _plus_minus(one["reference_penalty"], one["reference_error"])
            told = f"{one['name']} {own}, {one['reference']} {its}, ratio {_interval(one['ratio'])}: {one['verdict']}"
            lines.append(f"  shifted over alike: {told}")
    return lines


def _head(decision: dict[str, Any], where: str) -> str:
    best = decision["recommended"]
    if best is None:
        return f"NO RECOMMENDATION{where}: none reaches the target"
    if decision["doubts"]:
        return f"NO RECOMMENDATION{where}, for the comparison is INVALID; the cheapest in it: {best}"
    return f"RECOMMENDED{where}: {best}"


def answer(summary: dict[str, Any]) -> list[str]:
    """Whether projections bear heterogeneity better than quantization, over all shifted problems."""
    found = summary.get("heterogeneity")
    if found is None:
        return []
    count = found["comparisons"]
    lines = [
        "",
        f"DO PROJECTIONS BEAR HETEROGENEITY BETTER THAN QUANTIZATION AT EQUAL OMEGA? {found['answer'].upper()}",
        f"  {count} comparison{'s' * (count != 1)} of penalties (shifted over alike), a projection's over "
        f"quantization's: better below 1, worse above, undecided where the interval holds 1; all intervals together "
        f"hold with {100 * found['confidence']:.0f}%",
    ]
    if found["left_out"]:
        lines.append(
            f"  {found['left_out']} penalties left out: the risk, or that of the reference, is INVALID or mostly bias"
        )
    for one in found["compressors"]:
        told = ", ".join(f"{verdict} in {one[verdict]}" for verdict in (BETTER, UNDECIDED, WORSE))
        least, greatest = (_interval(one[key]) for key in ("least_ratio", "greatest_ratio"))
        span = f"ratio {least}" if least == greatest else f"ratios from {least} to {greatest}"
        lines.append(f"  {one['name']}: {told}; {span}")
    return lines


def _interval(ratio: dict[str, Any]) -> str:
    """An estimate and its interval, in digits that show how wide it is."""
    return f"{ratio['estimate']:.3g} ({ratio['low']:.3g} to {ratio['high']:.3g})"


def _plus_minus(value: float, error: float | None) -> str:
    return number(value) + (f" ±{error:.2g}" if error else "")


def _ranked(member: dict[str, Any]) -> str:
    if member["ratio"] == 1:
        return member["name"]
    error = "" if member["error"] is None else f" ±{member['error']:.2g}"
    return f"{member['name']} ({member['ratio']:.3g}{error} times)"


def penalty(entry: Entry) -> str:
    """The penalty of heterogeneity ± its standard error, or that this is the reference of such penalties."""
    if entry["heterogeneity_reference"]:
        return "reference"
    value, error = entry["heterogeneity_penalty"], entry["heterogeneity_penalty_error"]
    return "-" if value is None else _plus_minus(value, error)


def _remarks(summary: dict[str, Any]) -> list[str]:
    """The target, and what has to be said of single configurations."""
    target = summary["target_excess_risk"]
    lines = [] if target is None else [f"target: mean averaged excess risk of at most {number(target, 4)}"]
    if any(entry["p_value"] is not None for entry in summary["configurations"]):
        lines.append(
            f"z = (mean - theory) / standard error; p below {MISMATCH_LEVEL:g} of exact theory is INVALID"
        )
    for entry in summary["configurations"]:
        lines += [f"INVALID {entry['label']}: {reason}" for reason in entry["reasons"]]
    notes: dict[str, list[str]] = {}
    for entry in summary["configurations"]:
        for note in entry["notes"]:
            notes.setdefault(note, []).append(entry["label"])
    return lines + [f"{'; '.join(labels)}: {note}" for note, labels in notes.items()]
