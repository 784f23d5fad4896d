"""`mpi-fed model`: fit, describe machines, answer."""

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


def model(given: Namespace) -> int:
    """Print what compression costs and brings on machines, from results of `mpi-fed bench`; 0.

    Raises InputError where a file, an option or a machine is wrong."""
    machines = [_changed(machine, given) for machine in _machines(given)]
    risk = _risk(given.risk)
    measured, facts = points(given.results)
    machines = [_measured(machine, measured, given) for machine in machines]
    traces, dimensions = _problem(given, measured)
    document = model_document(measured, facts, machines, traces, dimensions, risk)
    print(json.dumps(asdict(document), indent=2, allow_nan=False)) if given.json else print_answers(document)
    return 0


def model_document(
    measured: Sequence[Point],
    facts: Sequence[dict[str, Any]],
    machines: Sequence[Machine],
    traces: Traces,
    dimensions: Sequence[int],
    risk: float,
) -> Model:
    """The document, from points, the facts of the machines on which they were measured, and what is asked for."""
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
    """The fitted numbers."""
    return Fit(
        compute=[
            ComputeCost(phase, name_of(recipe), *map(float, seconds))
            for (phase, recipe), seconds in costs.compute.items()
        ],
        ways=[_way_cost(medium, what, transfer) for (medium, what), transfer in costs.ways.items()],
    )


def _way_cost(medium: str, what: Hashable, transfer: Transfer) -> UplinkCost | IterateCost | DirectionCost:
    numbers = float(transfer.alpha), float(transfer.copy), float(transfer.stretch)
    if isinstance(what, int):
        return IterateCost(medium, what, *numbers)
    return (DirectionCost if what == PACKED else UplinkCost)(medium, str(what), *numbers)


def _machines(given: Namespace) -> list[Machine]:
    """The machines that the options name, or every preset."""
    if given.preset:
        return [preset(name) for name in given.preset]
    if given.bandwidth is not None:
        return [linked("links", 2, parse_rate(given.bandwidth, "--bandwidth"), 0.0)]
    for option in ("latency", "down", "root_bandwidth", "clients", "participants", "cores"):
        if getattr(given, option) is not None:
            name = option.replace("_", "-")
            raise InputError(f"--{name} changes a machine: say which by --bandwidth 100mbit, or by --preset")
    return list(PRESETS.values())


def _changed(machine: Machine, given: Namespace) -> Machine:
    """The machine with what the options say instead."""
    changes: dict[str, Any] = {}
    if given.bandwidth is not None:
        bits = parse_rate(given.bandwidth, "--bandwidth")
        changes |= {"up": bits, "down": bits} | ({} if machine.homes else {"root": bits})
    for option, field in (("down", "down"), ("root_bandwidth", "root")):
        if (text := getattr(given, option)) is not None:
            changes[field] = parse_rate(text, f"--{option.replace('_', '-')}")
    if given.latency is not None:
        changes["latency"] = parse_seconds(given.latency, "--latency")
    changes |= {k: getattr(given, k) for k in ("clients", "participants", "cores") if getattr(given, k) is not None}
    if machine.is_memory and changes.keys() & {"up", "down", "root", "latency"}:
        raise InputError("--preset memory has no links; leave --bandwidth, --down, --root-bandwidth and --latency out")
    return check(replace(machine, **changes))


def _measured(machine: Machine, measured: Sequence[Point], given: Namespace) -> Machine:
    """A shared memory is that of the files: as many clients and cores as it had ranks, unless options say so."""
    ranks = [point.ranks for point in measured if point.link is None]
    if not machine.is_memory:
        return machine
    if not ranks:
        raise InputError("--preset memory: no file was measured in a shared memory; give one, or other presets")
    count = max(ranks)
    return replace(machine, clients=given.clients or count, cores=given.cores or count)


def _risk(value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"--risk {value:g}: give a number above 0")
    return value


def _problem(given: Namespace, measured: Sequence[Point]) -> tuple[Traces, list[int]]:
    """The function of limit traces, and the dimensions of the rows."""
    for dimension in given.dimension or ():
        if dimension > LARGEST:
            raise InputError(f"--dimension {dimension}: give 1 to {LARGEST:,}")
    if given.study is None:
        return bench_trace, given.dimension or sorted({point.dimension for point in measured})
    from ...study.load import load_study
    from ...study.plan import check_problems

    study = load_study(given.study)
    check_problems([study])
    traces, dimension = study_traces(study)
    if given.dimension and given.dimension != [dimension]:
        raise InputError(f"--dimension: the problem of {given.study} has dimension {dimension}; leave the option out")
    return traces, [dimension]


