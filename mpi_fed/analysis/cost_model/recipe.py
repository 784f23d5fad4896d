"""Extend a compressor to any dimension: with the same parameters, or with omega = sqrt(d) as in a bench."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from ...benchmark.cases import SIZELESS, recipes
from ...compressors import Compressor, compressors
from ...errors import InputError
from ...routes import routes
from ...study import validation
from ...study.labels import describe

FLOATS = {64: "float64", 32: "float32", 16: "float16"}
"""Names of floats by their bits."""
BASELINES = {"float32": (32,), "float16": (16,), "uncompressed": (32, 16)}
"""Bits of the floats of each baseline, which sends uncompressed floats up and down by its fastest route."""


@dataclass(frozen=True)
class Recipe:
    """A compressor at any dimension."""

    kind: str
    parameters: str | None
    """The given parameters, as JSON."""
    fitted: int | None = None
    """Index of the recipe of `benchmark.cases.recipes` that completes the parameters; None if they are complete."""
    joint_route: str | None = None
    """The route, if a client's message there depends on the other clients' vectors; else None."""

    @property
    def name(self) -> str:
        """The name for people: float32, "rand-h, omega = sqrt(d)", "quantization levels=127"."""
        if self.kind == "none":
            return FLOATS[self.at(1).value_bits]
        scale = ", shared scale" if self.joint_route else ""
        if self.fitted is None:
            return describe(self.at(None)) + scale
        parameters = [f"{key}={value}" for key, value in json.loads(self.parameters or "{}").items()]
        return f"{' '.join([self.kind, *parameters])}, omega = sqrt(d){scale}"

    @property
    def is_baseline(self) -> bool:
        """True if floats are sent uncompressed."""
        return self.kind == "none"

    def at(self, dimension: int | None) -> Compressor:
        """Return the compressor, resolved for `dimension` if given. Raises InputError if it cannot be resolved."""
        return _at(self, dimension)

    def presence(self, dimension: int) -> float:
        """Return the probability that a client sends in a round."""
        model = self.at(dimension)
        return model.payload_bits(dimension) / (model.value_bits * dimension) if model.may_be_absent else 1.0

    def message_bytes(self, dimension: int, clients: int = 1) -> float:
        """Return the mean number of bytes of a message; it depends on `clients` if the route is joint."""
        model = self.at(dimension)
        if self.joint_route:
            return float(routes[self.joint_route]().payload_bytes(model, dimension, clients))
        if model.fixed_length or model.may_be_absent:
            return float(model.payload_bytes_max(dimension))
        return model.payload_bits(dimension) / 8


def name_of(recipe: Recipe | None) -> str | None:
    """Return the name of a recipe, or None without a recipe."""
    return None if recipe is None else recipe.name


@functools.cache
def _at(recipe: Recipe, dimension: int | None) -> Compressor:
    table = json.loads(recipe.parameters or "{}")
    if recipe.fitted is not None:
        assert dimension is not None
        table = list(recipes(recipe.kind, dimension, table))[recipe.fitted]
    place = f"compressor {recipe.kind}:"
    compressor = validation.component(compressors, {"kind": recipe.kind, **table}, place)
    if dimension is None:
        return compressor
    try:
        return compressor.resolve(dimension)
    except ValueError as error:
        raise InputError(f"{place} at dimension {dimension} {error}") from None


def recipe_of(table: dict[str, Any], dimension: int, place: str, joint_route: str | None = None) -> Recipe:
    """Return the recipe of a compressor in a bench result. Raises InputError if the compressor is unknown."""
    compressor = validation.component(compressors, table, place)
    kind, keys = compressor.kind, type(compressor).model_fields
    if "omega" in keys:
        sizeless = {key: value for key in sorted(SIZELESS & keys.keys())
               if (value := getattr(compressor, key)) != keys[key].get_default()}  # fmt: skip
        for number, parameters in enumerate(recipes(kind, dimension, sizeless)):
            if validation.component(compressors, {"kind": kind, **parameters}, place).resolve(dimension) == compressor:
                return Recipe(kind, json.dumps(sizeless) if sizeless else None, number, joint_route)
    rest = {key: value for key, value in table.items() if key != "kind"}
    return Recipe(kind, json.dumps(rest, sort_keys=True), joint_route=joint_route)
