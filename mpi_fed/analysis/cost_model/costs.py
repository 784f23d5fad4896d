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
"""Coordinates of a float64 vector of one megabyte, about a core's own cache; each coordinate beyond costs more."""
MEMORY, TCP = "shared memory", "TCP"
"""The media over which points were measured."""
POOLED = {"gatherv": "gather", "allgatherv": "allgather"}
"""Routes whose uplink costs the same as another route's for the same bytes."""
PACKED = "a packed direction"
"""Name of the transfer of a compressed downlink, which broadcasts bytes unchanged."""


class Scheme(NamedTuple):
    """A combination of compressor, route and downlink."""

    recipe: Recipe
    route: str
    bits: int | None
    """Bits of a float of the iterate on the downlink; None if the iterate is not sent."""
    down: Recipe | None = None
    """The compressor of the step's direction on the downlink, if there is one."""


class Transfer(NamedTuple):
    """The fitted costs of an uplink or a downlink."""

    alpha: float
    """Seconds of a call."""
    copy: float
    """Seconds of a byte in software."""
    stretch: float
    """Factor of the seconds on the links."""

    def seconds(self, load: Load, machine: Machine, up: bool) -> float:
        """Return the seconds of a load on a machine, over the links to the root (`up`) or from it."""
        software = self.alpha * load.calls + self.copy * load.volume
        return software + self.stretch * wire_seconds(load, machine, up) + load.hops * machine.latency


@dataclass(frozen=True)
class Costs:
    """Fitted costs of the phases of a round, and the schemes that were measured."""

    compute: dict[tuple[str, Recipe | None], Array]
    """Phase and recipe (None for gradient and update) -> array (a, b, c, e).

    The phase takes a + b d + c max(0, d - CACHE) + e (bytes of a message) seconds; gradient and update have e = 0.
    """
    ways: dict[tuple[str, Hashable], Transfer]
    """Medium and either the uplink's route, the downlink's bits or PACKED -> costs of the transfer."""
    schemes: tuple[Scheme, ...] = field(default=())
    """The measured schemes, in the order of the points."""

    def phases(self, scheme: Scheme, dimension: int, machine: Machine) -> dict[str, float]:
        """Return the seconds of each phase of a round in which at least one client sends.

        Raises InputError if a part of the round was not measured.
        """
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
        """Return the phases of a compressed downlink: the root encodes; each rank decodes and updates its iterate."""
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
        """Return the mean seconds of a round; rounds in which no client sends count as 0 seconds."""
        share = busy(scheme.recipe.presence(dimension), machine)
        return share * sum(self.phases(scheme, dimension, machine).values())

    def covers(self, scheme: Scheme, dimension: int, machine: Machine) -> bool:
        """Return whether all parts of the round were measured and the compressor exists at this dimension."""
        try:
            self.phases(scheme, dimension, machine)
        except InputError:
            return False
        return True

    def _compute(self, phase: str, recipe: Recipe | None, dimension: int, size: float) -> float:
        if recipe is not None and recipe.at(dimension).may_be_absent:
            recipe = dense(recipe, dimension)
        if (phase, recipe) not in self.compute:
            raise InputError(f"no result has the time of {phase} of {recipe.name if recipe else 'a round'}")
        return float(self.compute[phase, recipe] @ np.array(_features(dimension, size)))

    def _way(self, machine: Machine, key: Hashable) -> Transfer:
        """Return the costs of a transfer, measured over TCP for a machine with links and else in shared memory.

        If no point was measured over that medium, the costs over the other one are returned, although software costs
        less in shared memory.
        """
        wanted, other = (MEMORY, TCP) if machine.is_memory else (TCP, MEMORY)
        medium = wanted if any(medium == wanted for medium, _ in self.ways) else other
        if (medium, key) in self.ways:
            way = self.ways[medium, key]
            return way if medium == TCP or machine.is_memory else way._replace(stretch=1.0)
        raise InputError(f"no result has the time of {_called(key)}")


def _called(key: Hashable) -> str:
    """Return the name of a transfer for messages."""
    if isinstance(key, int):
        return f"a downlink of {key} bits"
    return str(key) if key == PACKED else f"the route {key}"


def busy(presence: float, machine: Machine) -> float:
    """Return the probability that at least one client sends in a round, 1 - (1 - presence)^N."""
    return -math.expm1(machine.active * math.log1p(-presence)) if presence < 1 else 1.0


def dense(recipe: Recipe, dimension: int) -> Recipe:
    """Return the recipe of the uncompressed floats of a compressor that sends either all floats or nothing."""
    return Recipe("none", f'{{"value_bits": {recipe.at(dimension).value_bits}}}')


def fit_costs(points: Sequence[Point]) -> Costs:
    """Fit the costs to the points. Codecs are fitted to the points from shared memory, if there are any."""
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
    """Return the scheme of a point."""
    return Scheme(point.recipe, point.route, point.bits, point.down)


def _transfer(points: Sequence[Point], phase: str, features: Callable[[Point], Sequence[float]]) -> Transfer:
    """Fit the costs of a transfer. At a single rate, all costs that grow with the bytes are attributed to the link."""
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
    """Return the machine on which a point was measured: hosts on links without added latency, or a shared memory."""
    link = point.link
    return Machine(point.file, point.ranks, link, link, link, cores=point.ranks, burst=point.burst)


def uplink_of(point: Point) -> Load:
    """Return the load of the point's uplink."""
    return uplink(point.route, machine_of(point), point.messages, point.payload)


def downlink_of(point: Point) -> Load:
    """Return the load of the point's downlink."""
    d = point.dimension
    size = point.down.message_bytes(d) if point.down else (point.bits or 64) / 8 * d
    return downlink(point.route, machine_of(point), size)


def is_clear(point: Point) -> bool:
    """Return whether the model can predict the round's uplink and downlink in spite of the links' bursts."""
    return _clear(point, uplink_of) and _clear(point, downlink_of)


def predicted(costs: Costs, point: Point) -> float:
    """Return the predicted seconds of the point's round."""
    return costs.seconds(scheme_of(point), point.dimension, machine_of(point))
