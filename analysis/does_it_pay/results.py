"""Read the saved bench results, fit the cost model to some of them, and compare the model with the others."""

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
    """The measured points and the fitted model, from which the page is written."""

    fitted: list[Point]
    """Points to which the model is fitted."""
    others: list[Point]
    """Points of the benches that are left out of the fit, to check the model."""
    costs: Costs
    """The costs fitted to `fitted`."""
    held_out: list[Miss]
    """Points of `fitted`, each with its prediction by a fit without the point's dimension."""
    checks: list[Miss]
    """Points of `others`, each with its prediction by `costs`."""
    machines: list[dict[str, Any]]
    """For each file, the facts about the machine on which it was measured."""


def read(benches: Sequence[Bench], folder: Path) -> Results:
    """Return the saved results. Raises SystemExit if there are no results to fit."""
    try:
        fitted, machines = _read([bench for bench in benches if not bench.checks], folder)
        others, more = _read([bench for bench in benches if bench.checks], folder)
    except InputError as error:
        raise SystemExit(f"does_it_pay: {error}") from None
    if not fitted:
        raise SystemExit(f"does_it_pay: no results are saved in {folder}; run without --no-measuring")
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
