"""`mpi-fed certify`: start two ranks that compare every compressor with its definition, and show the certificates."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Sequence

from .. import plugins as plugin_files
from ..engine import compile_switch
from ..errors import InputError
from .certify import DRAWS
from .document import Certificate, DimensionReport
from .ranks import Request, certificates

SHOWN = 3
"""Largest number of reasons that are shown below the table for a compressor."""


def certify(
    dimension: int | None,
    draws: int | None,
    only: str | None = None,
    json: bool = False,
    plugins: Sequence[str] = (),
) -> int:
    """Certify every registered compressor, at one dimension or several; return 0 if all pass, else 1.

    With `only`, compressors whose labels do not contain this text are skipped. `draws` messages are drawn for each
    fixed vector up to 64 dimensions. Raises InputError for a wrong option, and WorldError if the ranks cannot be
    started.
    """
    compile_switch.compile_kernels = False  # this process only starts the ranks, which read the environment
    plugin_files.load(plugins)
    from .cases import FEWEST_DRAWS, cases

    if draws is not None and draws < FEWEST_DRAWS:
        raise InputError(f"--draws {draws}: give at least {FEWEST_DRAWS}, since fewer draws cannot detect an error")
    cases(dimension, only)
    status, made = certificates(Request(draws or DRAWS, dimension, only, plugins=plugins))
    if status != 0:
        return status
    if json:
        print(json_text.dumps([certificate.to_json() for certificate in made], indent=2))
    else:
        _print_table(made)
    return 0 if all(certificate.verdict == "PASS" for certificate in made) else 1


def _print_table(certificates: list[Certificate]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 110)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("compressor", overflow="fold")
    for name in ("d", "omega", "variance\n/ omega", "bias\nz", "covar.\nz", "bytes", "predicted\nbits"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("round\ntrip", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for certificate in certificates:
        for number, report in enumerate(certificate.dimensions):
            first = number == 0
            table.add_row(certificate.label if first else "", *_row(report), certificate.verdict if first else "")
    console.print(table)
    for certificate in certificates:
        for reason in certificate.reasons[:SHOWN]:
            console.print(f"FAIL {certificate.label}: {reason}")
        if len(certificate.reasons) > SHOWN:
            more = len(certificate.reasons) - SHOWN
            console.print(f"FAIL {certificate.label}: and {more} more reasons; see --json")
    comparisons = sum(certificate.comparisons for certificate in certificates)
    rate = sum(certificate.error_rate for certificate in certificates)
    passed = sum(certificate.verdict == "PASS" for certificate in certificates)
    console.print(
        f"{passed} of {len(certificates)} pass. Each of the {comparisons:,} comparisons fails above z = "
        f"{certificates[0].z_limit:g}. If all compressors are correct, one fails with probability {rate:.0e} at most "
        "(Hoeffding and empirical Bernstein bounds over the observed ranges, with an allowance for rounding of floats)."
    )


def _row(report: DimensionReport) -> list[str]:
    return [
        f"{report.dimension:,}",
        f"{report.omega:.4g}",
        _number(report.variance_ratio, ".3f"),
        _number(report.bias_z_max, ".2f"),
        _number(report.covariance_z_max, ".2f"),
        _number(report.payload_bytes_measured, ",.8g"),
        f"{report.payload_bits_theory:,.8g}",
        "exact" if report.round_trip_exact else "NOT",
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
