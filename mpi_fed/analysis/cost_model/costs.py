"""Fitted costs, and from them the seconds of a round on any machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...errors import InputError
from . import collectives
from .collectives import Load, decoded, downlink, uplink, wire_seconds
from .fit import Array, fit
from .machine import Machine
from .points import DOWN, Point
from .recipe import Recipe

CACHE = 1 << 17
"""Coordinates of a float64 vector of a megabyte, about what a core has for itself: each beyond it costs more."""
MEMORY, TCP = "shared memory", "TCP"
POOLED = {"gatherv": "gather", "allgatherv": "allgather"}
"""Routes whose uplink costs what another's does for the same bytes."""
PACKED = "a packed direction"
"""What comes back where it is no iterate: bytes that are broadcast as they are."""


class Scheme(NamedTuple):
    """What is sent, and how."""

    recipe: Recipe
    route: str
    bits: int | None
    """Of a float of the iterate on its way back; None where it does not travel."""
    down: Recipe | None = None
    """What compresses the step's direction on its way back, where something does."""


class Transfer(NamedTuple):
    """The fitted costs of one way."""

    alpha: float
    copy: float
    stretch: float

    def seconds(self, load: Load, machine: Machine, up: bool) -> float:
        software = self.alpha * load.calls + self.copy * load.volume
        return software + self.stretch * wire_seconds(load, machine, up) + load.hops * machine.latency


@dataclass(frozen=True)
class Costs:
    """Compute: of a phase, and for encode and decode of a recipe, up or down, seconds

    a + b d + c max(0, d - CACHE) + e (bytes of a message);    gradient and update have e = 0.
    """

    compute: dict[tuple[str, Recipe | None], Array]
    ways: dict[tuple[str, Hashable], Transfer]
    """By medium and by the uplink's route, or the bits of the downlink, or PACKED."""
    schemes: tuple[Scheme, ...] = field(default=())
    """Those that were measured, in order."""

    def phases(self, scheme: Scheme, dimension: int, machine: Machine) -> dict[str, float]:
        """Seconds of each phase of a round in which anybody sends. Raises InputError where nothing was measured."""
        recipe, route, bits, down = scheme
        size, presence = recipe.message_bytes(dimension, machine.active), recipe.presence(dimension)
        messages = machine.active * presence / busy(presence, machine)
        turns = max(1, math.ceil(messages / machine.cores)) if machine.is_memory else 1
        up = self._way(machine, POOLED.get(route, route)).seconds(uplink(route, machine, messages, size), machine, True)
        back = 0.0
        if bits is not None:
            back = self._way(machine, bits).seconds(downlink(route, machine, bits / 8 * dimension), machine, False)
        times = {
            "gradient": turns * self._compute("gradient", None, dimension, 0.0),
            "encode": turns * self._compute("encode", recipe, dimension, size),
            "uplink": up,
            "decode": decoded(route, messages) * self._compute("decode", recipe, dimension, size),
            "update": self._compute("update", None, dimension, 0.0),
            "downlink": back,
        }
        return times if down is None else times | self._packed(down, route, dimension, machine)

    def _packed(self, down: Recipe, route: str, dimension: int, machine: Machine) -> dict[str, float]:
        """Where the direction comes back compressed: the root packs it, and each rank unpacks it and updates itself."""
        size, turns = down.message_bytes(dimension), 1
        if machine.is_memory:
            turns = math.ceil(machine.active / machine.cores)
        return {
            "update": turns * self._compute("update", None, dimension, 0.0),
            "downlink_encode": self._compute("downlink_encode", down, dimension, size),
            "downlink": self._way(machine, PACKED).seconds(downlink(route, machine, size), machine, False),
            "downlink_decode": turns * self._compute("downlink_decode", down, dimension, size),
        }

    def seconds(self, scheme: Scheme, dimension: int, machine: Machine) -> float:
        """The mean of a round: one in which nobody sends takes nothing."""
        share = busy(scheme.recipe.presence(dimension), machine)
        return share * sum(self.phases(scheme, dimension, machine).values())

    def covers(self, scheme: Scheme, dimension: int, machine: Machine) -> bool:
        """Whether all that such a round consists of was measured, and the compressor exists at this dimension."""
        try:
            self.phases(scheme, dimension, machine)
        except InputError:
            return False
        return True

    def _compute(self, phase: str, recipe: Recipe | None, dimension: int, size: float) -> float:
        if recipe is not None and recipe.at(dimension).may_be_absent:
            recipe = dense(recipe, dimension)
        if (phase, recipe) not in self.compute:
            raise InputError(f"no result tells how long {phase} of {recipe.name if recipe else 'a round'} takes")
        return float(self.compute[phase, recipe] @ np.array(_features(dimension, size)))

    def _way(self, machine: Machine, what: Hashable) -> Transfer:
        """As measured over TCP for a machine with links; where nothing was, in memory, where software costs less."""
        wanted, other = (MEMORY, TCP) if machine.is_memory else (TCP, MEMORY)
        medium = wanted if any(medium == wanted for medium, _ in self.ways) else other
        if (medium, what) in self.ways:
            way = self.ways[medium, what]
            return way if medium == TCP or machine.is_memory else way._replace(stretch=1.0)
        raise InputError(f"no result tells how long {_called(what)} takes")


def _called(what: Hashable) -> str:
    """A way, for people."""
    if isinstance(what, int):
        return f"a downlink of {what} bits"
    return str(what) if what == PACKED else f"the route {what}"


def busy(presence: float, machine: Machine) -> float:
    """The probability that anybody sends in a round."""
    return -math.expm1(machine.active * math.log1p(-presence)) if presence < 1 else 1.0


def dense(recipe: Recipe, dimension: int) -> Recipe:
    """What one that sends everything or nothing sends: floats, as none does."""
    return Recipe("none", f'{{"value_bits": {recipe.at(dimension).value_bits}}}')


def fit_costs(points: Sequence[Point]) -> Costs:
    """The costs that fit the points. In a machine's own memory codecs are timed, where any point is from there."""
    whole = [point for point in points if not point.may_be_absent]
    local = [point for point in whole if point.link is None] or whole
    compute: dict[tuple[str, Recipe | None], Array] = {}
    for phase in ("gradient", "update"):
        compute[phase, None] = _fit(local, phase, lambda p: _features(p.dimension, 0.0))
    for recipe in dict.fromkeys(point.recipe for point in whole):
        points_of = [point for point in local if point.recipe == recipe] or [p for p in whole if p.recipe == recipe]
        compute["encode", recipe] = _fit(points_of, "encode", lambda p: _features(p.dimension, p.payload))
        compute["decode", recipe] = _fit(points_of, "decode", _decode_features)
    for down in dict.fromkeys(point.down for point in whole if point.down):
        points_of = [point for point in local if point.down == down] or [p for p in whole if p.down == down]
        for phase in DOWN:
            compute[phase, down] = _fit(points_of, phase, _down_features)
    ways: dict[tuple[str, Hashable], Transfer] = {}
    for medium, of_medium in ((MEMORY, [p for p in whole if not p.link]), (TCP, [p for p in whole if p.link])):
        for route in dict.fromkeys(POOLED.get(p.route, p.route) for p in of_medium):
            chosen = [p for p in of_medium if POOLED.get(p.route, p.route) == route and _clear(p, uplink_of)]
            ways[medium, route] = _transfer(chosen, "uplink", _uplink_features)
        for bits in dict.fromkeys(p.bits for p in of_medium if p.bits):
            chosen = [p for p in of_medium if p.bits == bits and _clear(p, downlink_of)]
            ways[medium, bits] = _transfer(chosen, "downlink", _downlink_features)
        if packed := [p for p in of_medium if p.down]:
            chosen = [p for p in packed if _clear(p, downlink_of)]
            ways[medium, PACKED] = _transfer(chosen, "downlink", _downlink_features)
    return Costs(compute, ways, tuple(dict.fromkeys(map(scheme_of, points))))


def scheme_of(point: Point) -> Scheme:
    """What a point is of."""
    return Scheme(point.recipe, point.route, point.bits, point.down)


def _transfer(points: Sequence[Point], phase: str, features: Callable[[Point], Sequence[float]]) -> Transfer:
    """The costs of one way. At a single rate all that grows with the bytes is put down to the link."""
    if len({point.link for point in points}) > 1 or not points or points[0].link is None:
        return Transfer(*_fit(points, phase, features))
    alpha, stretch = _fit(points, phase, lambda point: features(point)[::2])
    return Transfer(alpha, 0.0, stretch)


def _fit(points: Sequence[Point], phase: str, features: Callable[[Point], Sequence[float]]) -> Array:
    chosen = [point for point in points if point.seconds[phase] > 0 and any(features(point))]
    if not chosen:
        return np.zeros(len(features(points[0])) if points else 3)
    return fit(np.array([features(point) for point in chosen]), np.array([point.seconds[phase] for point in chosen]))


def _features(dimension: int, size: float) -> list[float]:
    return [1.0, float(dimension), max(0.0, dimension - CACHE), size]


def _decode_features(point: Point) -> Sequence[float]:
    count = decoded(point.route, point.messages)
    return [count * feature for feature in _features(point.dimension, point.payload)]


def _down_features(point: Point) -> Sequence[float]:
    assert point.down is not None
    return _features(point.dimension, point.down.message_bytes(point.dimension))


def _clear(point: Point, way: Callable[[Point], Load]) -> bool:
    return collectives.is_clear(way(point), machine_of(point))


def _uplink_features(point: Point) -> Sequence[float]:
    load = uplink_of(point)
    return load.calls, load.volume, wire_seconds(load, machine_of(point), True)


def _downlink_features(point: Point) -> Sequence[float]:
    load = downlink_of(point)
    return load.calls, load.volume, wire_seconds(load, machine_of(point), False)


def machine_of(point: Point) -> Machine:
    """Where a point was measured: hosts on links without latency of their own, or one memory."""
    link = point.link
    return Machine(point.file, point.ranks, link, link, link, cores=point.ranks, burst=point.burst)


def uplink_of(point: Point) -> Load:
    return uplink(point.route, machine_of(point), point.messages, point.payload)


def downlink_of(point: Point) -> Load:
    d = point.dimension
    size = point.down.message_bytes(d) if point.down else (point.bits or 64) / 8 * d
    return downlink(point.route, machine_of(point), size)


def is_clear(point: Point) -> bool:
    """Whether the links' bursts leave both ways of this round as the model has them."""
    return _clear(point, uplink_of) and _clear(point, downlink_of)


def predicted(costs: Costs, point: Point) -> float:
    """Seconds of the round that a point is of."""
    return costs.seconds(scheme_of(point), point.dimension, machine_of(point))
