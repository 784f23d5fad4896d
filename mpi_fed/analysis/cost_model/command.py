"""`mpi-fed model`: fit costs, describe machines, and print the predictions."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Hashable, Sequence
from dataclasses import asdict, replace
from typing import Any

from ...errors import InputError
from .answer import answers
from .costs import PACKED, Costs, Transfer, fit_costs
from .document import ComputeCost, DirectionCost, Fit, IterateCost, Model, UplinkCost
from .held_out import held_out_sizes, summaries
from .machine import PRESETS, Machine, check, linked, preset
from .points import Point, points
from .recipe import name_of
from .rounds import Traces, bench_trace, study_traces
from .table import ASSUMPTIONS, print_answers
from .units import parse_rate, parse_seconds

LARGEST = 100_000_000
"""The largest dimension."""


def model(options: Namespace) -> int:
    """Print the costs and gains of compression on machines, from results of `mpi-fed bench`, and return 0.

    Raises InputError if a file, an option or a machine is wrong.
    """
    machines = [_changed(machine, options) for machine in _machines(options)]
    risk = _risk(options.risk)
    measured, facts = points(options.results)
    machines = [_measured(machine, measured, options) for machine in machines]
    traces, dimensions = _problem(options, measured)
    document = model_document(measured, facts, machines, traces, dimensions, risk)
    print(json.dumps(asdict(document), indent=2, allow_nan=False)) if options.json else print_answers(document)
    return 0


def model_document(
    measured: Sequence[Point],
    facts: Sequence[dict[str, Any]],
    machines: Sequence[Machine],
    traces: Traces,
    dimensions: Sequence[int],
    risk: float,
) -> Model:
    """Return the document for these machines, dimensions and risk.

    `measured` are the points, `facts` describes the machines on which they were measured, and `traces` returns T.
    """
    costs = fit_costs(measured)
    return Model(
        measured_on=list(facts),
        assumptions=list(ASSUMPTIONS),
        risk=risk,
        fit=fit_entry(costs),
        held_out=summaries(held_out_sizes(measured)),
        machines=list(answers(costs, traces, machines, dimensions, risk)),
    )


def fit_entry(costs: Costs) -> Fit:
    """Return the fitted numbers as the document has them."""
    return Fit(
        compute=[
            ComputeCost(phase, name_of(recipe), *map(float, seconds))
            for (phase, recipe), seconds in costs.compute.items()
        ],
        ways=[_way_cost(medium, key, transfer) for (medium, key), transfer in costs.ways.items()],
    )


def _way_cost(medium: str, key: Hashable, transfer: Transfer) -> UplinkCost | IterateCost | DirectionCost:
    numbers = float(transfer.alpha), float(transfer.copy), float(transfer.stretch)
    if isinstance(key, int):
        return IterateCost(medium, key, *numbers)
    return (DirectionCost if key == PACKED else UplinkCost)(medium, str(key), *numbers)


def _machines(options: Namespace) -> list[Machine]:
    """Return the machines that the options name, or every preset."""
    if options.preset:
        return [preset(name) for name in options.preset]
    if options.bandwidth is not None:
        return [linked("links", 2, parse_rate(options.bandwidth, "--bandwidth"), 0.0)]
    for option in ("latency", "down", "root_bandwidth", "clients", "participants", "cores"):
        if getattr(options, option) is not None:
            name = option.replace("_", "-")
            raise InputError(f"--{name} changes a machine; choose one with --bandwidth 100mbit or --preset NAME")
    return list(PRESETS.values())


def _changed(machine: Machine, options: Namespace) -> Machine:
    """Return the machine with the values of the options."""
    changes: dict[str, Any] = {}
    if options.bandwidth is not None:
        bits = parse_rate(options.bandwidth, "--bandwidth")
        changes |= {"up": bits, "down": bits} | ({} if machine.homes else {"root": bits})
    for option, field in (("down", "down"), ("root_bandwidth", "root")):
        if (text := getattr(options, option)) is not None:
            changes[field] = parse_rate(text, f"--{option.replace('_', '-')}")
    if options.latency is not None:
        changes["latency"] = parse_seconds(options.latency, "--latency")
    changes |= {k: getattr(options, k) for k in ("clients", "participants", "cores") if getattr(options, k) is not None}
    if machine.is_memory and changes.keys() & {"up", "down", "root", "latency"}:
        raise InputError("--preset memory has no links; leave out --bandwidth, --down, --root-bandwidth and --latency")
    return check(replace(machine, **changes))


def _measured(machine: Machine, measured: Sequence[Point], options: Namespace) -> Machine:
    """Return the machine; in shared memory, it has by default as many clients and cores as the files had ranks."""
    ranks = [point.ranks for point in measured if point.link is None]
    if not machine.is_memory:
        return machine
    if not ranks:
        raise InputError("--preset memory: no file was measured in a shared memory; add one or choose other presets")
    count = max(ranks)
    return replace(machine, clients=options.clients or count, cores=options.cores or count)


def _risk(value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"--risk {value:g}: give a number above 0")
    return value


def _problem(options: Namespace, measured: Sequence[Point]) -> tuple[Traces, list[int]]:
    """Return the function of limit traces, and the dimensions of the rows."""
    for dimension in options.dimension or ():
        if dimension > LARGEST:
            raise InputError(f"--dimension {dimension}: give a dimension from 1 to {LARGEST:,}")
    if options.study is None:
        return bench_trace, options.dimension or sorted({point.dimension for point in measured})
    from ...study.load import load_study
    from ...study.plan import check_problems

    study = load_study(options.study)
    check_problems([study])
    traces, dimension = study_traces(study)
    if options.dimension and options.dimension != [dimension]:
        raise InputError(f"--dimension: the problem of {options.study} has dimension {dimension}; leave the option out")
    return traces, [dimension]
