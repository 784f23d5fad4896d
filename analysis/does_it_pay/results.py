"""Read saved results, fit the model to some of them, and compare it with the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi_fed.analysis.cost_model.costs import Costs, fit_costs
from mpi_fed.analysis.cost_model.held_out import Miss, checked, held_out_sizes
from mpi_fed.analysis.cost_model.points import Point, points
from mpi_fed.errors import InputError

from .measure import Bench


@dataclass(frozen=True)
class Results:
    """All data of the page."""

    fitted: list[Point]
    others: list[Point]
    costs: Costs
    held_out: list[Miss]
    checks: list[Miss]
    machines: list[dict[str, Any]]
    """For each file, its facts about the machine."""


def read(benches: Sequence[Bench], folder: Path) -> Results:
    """Return the saved results. Raises SystemExit if there are none to fit."""
    try:
        fitted, machines = _read([bench for bench in benches if not bench.checks], folder)
        others, more = _read([bench for bench in benches if bench.checks], folder)
    except InputError as error:
        raise SystemExit(f"does_it_pay: {error}") from None
    if not fitted:
        raise SystemExit(f"does_it_pay: nothing is saved in {folder}; leave --no-measuring out")
    held_out, checks = held_out_sizes(fitted), checked(fitted, others)
    return Results(
        fitted=fitted,
        others=others,
        costs=fit_costs(fitted),
        held_out=held_out,
        checks=checks,
        machines=machines + more,
    )


def _read(benches: Sequence[Bench], folder: Path) -> tuple[list[Point], list[dict[str, Any]]]:
    files = [str(folder / f"{bench.name}.json") for bench in benches if (folder / f"{bench.name}.json").exists()]
    return points(files) if files else ([], [])
