"""Compute the rows of a machine: seconds of a round, rounds and seconds to a risk, and break-even bandwidths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from ...errors import InputError
from .collectives import allows
from .costs import Costs, Scheme
from .document import Gain, MachineEntry, Rates, Row
from .machine import Machine
from .recipe import BASELINES, name_of
from .rounds import Traces, rounds


class Line(NamedTuple):
    """Seconds as fixed + wire / B, where B is the rate from a client to the root; other rates grow in proportion."""

    fixed: float
    wire: float

    def times(self, factor: float) -> Line:
        """Return the line with `factor` times as many seconds."""
        return Line(self.fixed * factor, self.wire * factor)


def line_of(costs: Costs, scheme: Scheme, dimension: int, machine: Machine) -> Line:
    """Return the seconds of a round on a machine with links as a function of their rate."""
    assert machine.up is not None
    unlimited = replace(machine, up=math.inf, down=math.inf, root=math.inf)
    fixed = costs.seconds(scheme, dimension, unlimited)
    return Line(fixed, (costs.seconds(scheme, dimension, machine) - fixed) * machine.up)


def break_even(line: Line, others: Sequence[Line]) -> tuple[float, float] | None:
    """Return the bandwidths (low, high) between which `line` is faster than all others, or None if it never is.

    low may be 0 and high infinite. fixed + wire x is linear in x = 1/B, so it equals another line, fixed' + wire' x,
    at the bandwidth (wire - wire')/(fixed' - fixed).
    """
    low, high = 0.0, math.inf  # bounds of x
    for other in others:
        head, gain = other.fixed - line.fixed, other.wire - line.wire  # faster where head + gain x > 0
        if gain > 0:
            low = max(low, -head / gain)
        elif gain < 0:
            high = min(high, head / -gain)
        elif head <= 0:
            return None
    if low >= high:
        return None
    return (0.0 if math.isinf(high) else 1 / high, math.inf if low == 0 else 1 / low)


def answer(costs: Costs, traces: Traces, machine: Machine, dimension: int, risk: float) -> list[Row]:
    """Return a row for each pair of compressor and downlink, with the fastest route for this pair.

    Each row has the speed relative to each of the BASELINES.
    """
    possible = [s for s in costs.schemes if _can(s, machine) and costs.covers(s, dimension, machine)]
    groups: dict[tuple[Any, ...], list[Scheme]] = {}
    for scheme in possible:
        groups.setdefault((scheme.recipe, scheme.down, _bits(scheme)), []).append(scheme)
    seconds = {scheme: costs.seconds(scheme, dimension, machine) for scheme in possible}
    bases = {name: _base(bits, possible) for name, bits in BASELINES.items()}
    rows = []
    for schemes in groups.values():
        best = min(schemes, key=lambda scheme: seconds[scheme])
        trace = traces(best.recipe, dimension, best.down, machine.active)
        needed = None if trace is None else rounds(trace, risk, machine.active)
        gains = {
            name: _gain(base, best, costs, traces, machine, dimension, seconds) if base else None
            for name, base in bases.items()
        }
        rows.append(
            Row(
                compressor=best.recipe.name,
                route=best.route,
                downlink_bits=best.bits,
                downlink=name_of(best.down),
                dimension=dimension,
                round_seconds=seconds[best],
                phases=costs.phases(best, dimension, machine),
                limit_trace=None if trace is None else trace.value / machine.active,
                limit_trace_error=None if trace is None else trace.error / machine.active,
                rounds=needed,
                seconds_to_risk=None if needed is None else needed * seconds[best],
                **gains,
            )
        )
    return rows


def _can(scheme: Scheme, machine: Machine) -> bool:
    """Return whether the machine can run the scheme.

    A compressed downlink requires that all clients take part in every round, because a client that misses a round also
    misses the direction of that round's step.
    """
    return allows(scheme.route, machine) and (scheme.down is None or machine.active == machine.clients)


def _bits(scheme: Scheme) -> int | None:
    """Return the bits of a float that every client receives in a round.

    Without a downlink, the uplink itself gives every client the sum, whose floats are as long as those of the uplink.
    """
    if scheme.bits is None and scheme.down is None and scheme.recipe.is_baseline:
        return int(scheme.recipe.at(1).value_bits)
    return scheme.bits


def _base(bits: Sequence[int], schemes: Sequence[Scheme]) -> list[Scheme]:
    """Return the schemes without compression whose floats, up and down, all have the same length, listed in `bits`."""
    return [s for s in schemes if s.recipe.is_baseline and s.recipe.at(1).value_bits == _bits(s) in bits]


def _gain(
    base: Sequence[Scheme],
    scheme: Scheme,
    costs: Costs,
    traces: Traces,
    machine: Machine,
    dimension: int,
    seconds: dict[Scheme, float],
) -> Gain:
    """Return the speed relative to the fastest scheme of `base`, and the bandwidths at which `scheme` is faster."""
    fastest = min(seconds[other] for other in base)
    trace, base_trace = (traces(s.recipe, dimension, s.down, machine.active) for s in (scheme, base[0]))
    needed = trace.value / base_trace.value if trace and base_trace else None
    gain = Gain(
        round=fastest / seconds[scheme],
        rounds_needed=needed,
        to_risk=None if needed is None else fastest / (needed * seconds[scheme]),
    )
    if machine.is_memory or scheme in base:
        return gain
    line, others = (
        line_of(costs, scheme, dimension, machine),
        [line_of(costs, other, dimension, machine) for other in base],
    )
    return replace(
        gain,
        faster_between=_rates(break_even(line, others)),
        faster_to_risk_between=None if needed is None else _rates(break_even(line.times(needed), others)),
    )


def _rates(ends: tuple[float, float] | None) -> Rates | Literal["never", "always"]:
    """Return the ends in the form of the document, because JSON has no infinity."""
    if ends is None:
        return "never"
    low, high = ends
    if low == 0 and math.isinf(high):
        return "always"
    return Rates(above=low or None, below=None if math.isinf(high) else high)


def answers(
    costs: Costs, traces: Traces, machines: Sequence[Machine], dimensions: Sequence[int], risk: float
) -> Iterator[MachineEntry]:
    """Yield each machine that has rows, with the rows of all dimensions.

    Raises InputError if no machine has rows.
    """
    any_rows = False
    for machine in machines:
        rows = [row for dimension in dimensions for row in answer(costs, traces, machine, dimension, risk)]
        if rows:
            yield machine_entry(machine, rows)
            any_rows = True
    if not any_rows:
        raise InputError(
            f"{', '.join(machine.name for machine in machines)}: cannot run any of the measured configurations; homes "
            "need gather or gatherv, and a compressed downlink needs all clients in every round"
        )


def machine_entry(machine: Machine, rows: list[Row]) -> MachineEntry:
    """Return the machine and its rows as an entry of the document."""
    return MachineEntry(
        name=machine.name,
        clients=machine.clients,
        up=machine.up,
        down=machine.down,
        root=machine.root,
        latency=machine.latency,
        cores=machine.cores,
        participants=machine.active,
        homes=machine.homes,
        description=str(machine),
        rows=rows,
    )
