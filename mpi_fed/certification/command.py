"""`mpi-fed certify`: start two ranks, have them hold every compressor against its definition, show what they found."""

from __future__ import annotations

import json as json_text
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import plugins as plugin_files
from ..engine import compile_switch
from ..errors import InputError

DRAWS = 20_000
SHOWN = 3
"""Reasons in the table for one compressor."""


def certify(
    dimension: int | None,
    draws: int | None,
    only: str | None = None,
    json: bool = False,
    plugins: Sequence[str] = (),
) -> int:
    """Certify every registered compressor, at one dimension or several; 0 where all pass, else 1.

    `only` leaves out those whose label does not contain it. `draws` messages are drawn for each fixed vector up to 64
    dimensions. Raises InputError and WorldError."""
    compile_switch.compile_kernels = False  # this process only starts the ranks, which ask the environment
    plugin_files.load(plugins)
    from ..launch.launcher import run_programs
    from .cases import FEWEST_DRAWS, cases

    if draws is not None and draws < FEWEST_DRAWS:
        raise InputError(f"--draws {draws}: give at least {FEWEST_DRAWS}, since fewer can show nothing")
    cases(dimension, only)
    with tempfile.TemporaryDirectory(prefix="mpi-fed-certify-") as folder:
        result = Path(folder) / "result.json"
        wanted = [str(result), str(draws or DRAWS), str(dimension or "all"), only or "", *plugins]
        status = run_programs(2, [[sys.executable, "-P", "-m", "mpi_fed.certification", *wanted]])[0]
        if status != 0:
            return status
        found = json_text.loads(result.read_text())
    print(json_text.dumps(found, indent=2)) if json else _print_table(found)
    return 0 if all(one["verdict"] == "PASS" for one in found) else 1


def _print_table(found: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 110)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("compressor", overflow="fold")
    for name in ("d", "omega", "variance\n/ omega", "bias\nz", "covar.\nz", "bytes", "bits in\ntheory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("round\ntrip", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for one in found:
        for number, place in enumerate(one["dimensions"]):
            first = number == 0
            table.add_row(one["label"] if first else "", *_row(place), one["verdict"] if first else "")
    console.print(table)
    for one in found:
        for reason in one["reasons"][:SHOWN]:
            console.print(f"FAIL {one['label']}: {reason}")
        if len(one["reasons"]) > SHOWN:
            console.print(f"FAIL {one['label']}: and {len(one['reasons']) - SHOWN} reasons more, see --json")
    comparisons, rate = (sum(one[key] for one in found) for key in ("comparisons", "error_rate"))
    passed = sum(one["verdict"] == "PASS" for one in found)
    console.print(
        f"{passed} of {len(found)} pass. {comparisons:,} comparisons, each failing above z = {found[0]['z_limit']:g}: "
        f"if all compressors are right, one fails with probability {rate:.0e} at most (Hoeffding's and empirical "
        "Bernstein bounds over the ranges seen; rounding of floats on the wire allowed for)."
    )


def _row(place: dict[str, Any]) -> list[str]:
    return [
        f"{place['dimension']:,}",
        f"{place['omega']:.4g}",
        _number(place["variance_ratio"], ".3f"),
        _number(place["bias_z_max"], ".2f"),
        _number(place["covariance_z_max"], ".2f"),
        f"{place['payload_bytes_measured']:,.8g}",
        f"{place['payload_bits_theory']:,.8g}",
        "exact" if place["round_trip_exact"] else "NOT",
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
